/**
 * `<crtmp-player stream="live/event">`: the player with its controls.
 * @module
 */

import { Controls } from './controls.js';
import { SKELETON, STYLE } from './looks.js';
import { Player } from './player.js';

/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./player.js').Stats} Stats */

/** States with nothing to see but the sentence and the last picture. */
const BUSY = new Set(['connecting', 'switching']);
/** States that the viewer may want to end. */
const VAIN = new Set(['offline', 'failed', 'full', 'unready', 'nohosts']);
const STILL = new Set(['waiting', 'offline', 'failed', 'full', 'unready', 'nohosts', 'unsupported', 'nomse', 'blocked']);

/** See the module. Options are attributes, written-with-hyphens; `player` is the player behind it. */
export class CrtmpPlayer extends Controls {
  static observedAttributes = ['stream', 'hosts'];

  constructor() {
    super();
    /** @type {Player | null} */
    this.player = null;
    /** Taken out of the page and put back, it has all its parts. */
    this.made = false;
    this.state = 'idle';
    this.showsFacts = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
  }

  connectedCallback() {
    if (this.player) return;
    if (!this.made) {
      this.dress(SKELETON, STYLE);
      this.bind();
      this.made = true;
    }
    this.setAttribute('role', 'region');
    if (!this.hasAttribute('aria-label')) this.setAttribute('aria-label', `Live video ${this.getAttribute('stream') ?? ''}`);
    this.begin();
  }

  disconnectedCallback() {
    // Moved to another place of the page, it is connected again at once.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.player?.destroy();
      this.player = null;
    });
  }

  /**
   * @param {string} _
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(_, before, after) {
    if (!this.made || !this.isConnected || before === after) return;
    this.player?.destroy();
    this.begin();
  }

  begin() {
    try {
      this.player = new Player(this.part_('.box'), this.options());
    } catch (error) {
      this.player = null;
      this.tell('unsupported', error instanceof Error ? error.message : String(error));
      return;
    }
    if (!this.player.checked.autoplay) this.tell('blocked', '');
    this.draw();
  }

  /** @returns {Options} */
  options() {
    /** @param {string} name */
    const text = (name) => this.getAttribute(name) ?? undefined;
    /** @param {string} name */
    const number = (name) => (this.hasAttribute(name) ? Number(this.getAttribute(name)) : undefined);
    /** @param {string} name */
    const flag = (name) => (this.hasAttribute(name) ? this.getAttribute(name) !== 'false' : undefined);
    /** @param {string} type @param {object} detail */
    const fire = (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail }));
    const given = {
      hosts: text('hosts'),
      connectTimeout: number('connect-timeout'),
      connectCount: number('connect-count'),
      failureExpiry: number('failure-expiry'),
      stallTimeout: number('stall-timeout'),
      loadBalance: flag('load-balance'),
      protocols: /** @type {any} */ (text('protocols')?.split(/[\s,]+/)),
      autoplay: flag('autoplay'),
      muted: flag('muted'),
    };
    return {
      stream: text('stream') ?? '',
      .../** @type {Partial<Options>} */ (Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined))),
      onConnect: (host, index) => fire('connect', { host, index }),
      onConnectFailed: (host, index, why, detail) => fire('connectfailed', { host, index, why, detail }),
      onFailed: (detail) => fire('failed', { detail }),
      onSwitch: (from, to, why, ms) => fire('switch', { from, to, why, ms }),
      onStats: (stats) => {
        if (this.showsFacts) this.drawFacts(stats);
        fire('stats', stats);
      },
      onState: (state, sentence) => {
        this.tell(state, sentence);
        fire('state', { state, sentence });
      },
    };
  }

  get picture() {
    return this.player?.video;
  }

  get stays() {
    return this.player?.paused || this.matches(':focus-within:has(:focus-visible)') || super.stays;
  }

  bind() {
    this.bindAll(this.part_('.box'));
    this.press('.big', () => this.player?.resume());
    this.press('.sound', () => this.mute());
    this.press('.live', () => this.player?.resume());
    this.press('.again', () => this.player?.retry());
    this.press('.info', () => this.facts());
    for (const name of ['swap', 'volume', 'paused']) this.part_('.box').addEventListener(name, () => this.draw());
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.player) return;
    this.wake();
    const on = event.composedPath()[0];
    const slider = on instanceof HTMLInputElement;
    /** @type {Record<string, () => void>} */
    const keys = {
      k: () => this.toggle(),
      m: () => this.mute(),
      f: () => void this.fullscreen(),
      i: () => this.facts(),
      ArrowUp: () => this.setVolume((this.player?.volume ?? 1) + 0.1),
      ArrowDown: () => this.setVolume((this.player?.volume ?? 1) - 0.1),
    };
    if (!(on instanceof HTMLButtonElement)) keys[' '] = () => this.toggle();
    if (this.showsFacts) keys.Escape = () => this.facts();
    const what = keys[event.key];
    if (!what || (slider && event.key.startsWith('Arrow'))) return;
    event.preventDefault();
    what();
  }

  toggle() {
    const { player } = this;
    if (!player) return;
    if (player.paused || player.blocked) player.resume();
    else player.pause();
  }

  mute() {
    const { player } = this;
    if (!player) return;
    player.wantsMuted = !player.wantsMuted;
    if (!player.wantsMuted && player.volume === 0) player.volume = 1;
    if (!player.wantsMuted && !player.paused) player.resume();
  }

  /** @param {number} to */
  setVolume(to) {
    const { player } = this;
    if (!player) return;
    player.volume = Math.min(1, Math.max(0, to));
    player.wantsMuted = player.volume === 0;
  }

  facts() {
    this.showsFacts = !this.showsFacts;
    this.part_('.facts').hidden = !this.showsFacts;
    this.part_('.info').setAttribute('aria-expanded', String(this.showsFacts));
    const stats = this.player?.stats() ?? null;
    if (this.showsFacts) this.drawFacts(stats);
  }

  /**
   * @param {string} state
   * @param {string} sentence
   */
  tell(state, sentence) {
    this.state = state;
    clearTimeout(this.patience);
    // A change that takes no time is none worth a word.
    if (BUSY.has(state)) this.patience = setTimeout(() => this.show(state, sentence), 400);
    else this.show(state, sentence);
  }

  /**
   * @param {string} state
   * @param {string} sentence
   */
  show(state, sentence) {
    const all = this.part_('.all');
    const words = this.part_('.say p');
    if (words.textContent !== sentence) words.textContent = sentence;
    all.classList.toggle('told', sentence !== '');
    all.classList.toggle('still', STILL.has(state) && state !== 'blocked');
    this.part_('.spin').hidden = !BUSY.has(state);
    this.part_('.big').hidden = state !== 'blocked';
    this.part_('.again').hidden = !VAIN.has(state);
    this.draw();
  }

  draw() {
    const { player } = this;
    if (!player) return;
    const stopped = player.paused || player.blocked;
    const silent = player.wantsMuted || player.volume === 0;
    this.drawAll({ stopped, silent, volume: player.volume });
    const live = this.part_('.live');
    live.classList.toggle('on', this.state === 'playing' && !stopped);
    live.classList.toggle('wait', this.state === 'waiting');
    live.textContent = this.state === 'waiting' ? 'WAITING' : 'LIVE';
    this.part_('.sound').hidden = !(player.wantsMuted && !player.checked.muted && this.state === 'playing' && !stopped);
  }

  /** @param {Stats | null} stats */
  drawFacts(stats) {
    const list = this.part_('.facts dl');
    /** @type {[string, string][]} */
    const rows = stats ? describe(stats) : [['Mirror', 'none at the moment']];
    list.replaceChildren(
      ...rows.flatMap(([name, value]) => {
        const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
        dt.textContent = name;
        dd.textContent = value;
        return [dt, dd];
      }),
    );
    const note = this.part_('.facts .note');
    note.textContent = stats?.trouble ?? this.player?.source.trouble ?? '';
    note.hidden = note.textContent === '';
  }
}

/**
 * @param {Stats} stats
 * @returns {[string, string][]}
 */
export function describe(stats) {
  /** @type {[string, string][]} */
  const rows = [['Mirror', stats.host.replace(/^https?:\/\//, '')]];
  const ways = { flv: 'HTTP-FLV', hls: 'HLS', native: 'HLS, by the browser' };
  rows.push(['Protocol', ways[stats.protocol]]);
  if (stats.delay !== null) rows.push(['Delay in the player', `${stats.delay.toFixed(1)} s`]);
  const { video, audio, width, height } = stats.media;
  if (width && height) rows.push(['Picture', `${width} × ${height}`]);
  const codecs = [video, audio].filter(Boolean).join(', ');
  if (codecs) rows.push(['Codecs', codecs]);
  if (stats.kbits !== null) rows.push(['Received', `${Math.round(stats.kbits)} kbit/s`]);
  rows.push(['Pictures', `${stats.decoded}, ${stats.dropped} dropped`]);
  rows.push(['Mirrors known', String(stats.mirrors)]);
  rows.push(['Changes of mirror', String(stats.switches)]);
  return rows;
}
