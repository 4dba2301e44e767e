/**
 * `<crtmp-player stream="live/event">`: the player with its controls.
 * @module
 */

import { ICONS, SKELETON, STYLE } from './looks.js';
import { Player } from './player.js';

/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./player.js').Stats} Stats */

/** How long the controls stay after the last movement, ms. */
const AWAKE = 2600;

/** States with nothing to see but the sentence and the last picture. */
const BUSY = new Set(['connecting', 'switching']);
/** States that the viewer may want to end. */
const VAIN = new Set(['offline', 'failed', 'full', 'unready', 'nohosts']);
const STILL = new Set(['waiting', 'offline', 'failed', 'full', 'unready', 'nohosts', 'unsupported', 'nomse', 'blocked']);

/** See the module. Options are attributes, written-with-hyphens; `player` is the player behind it. */
export class CrtmpPlayer extends HTMLElement {
  static observedAttributes = ['stream', 'hosts'];

  constructor() {
    super();
    /** @type {Player | null} */
    this.player = null;
    this.root = this.attachShadow({ mode: 'open' });
    /** Taken out of the page and put back, it has all its parts. */
    this.made = false;
    this.state = 'idle';
    this.showsFacts = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.sleep = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
  }

  connectedCallback() {
    if (this.player) return;
    if (!this.made) {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      this.root.adoptedStyleSheets = [sheet];
      this.root.innerHTML = `<div class="all">${SKELETON}</div>`;
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

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  part_(selector) {
    return /** @type {HTMLElement} */ (this.root.querySelector(selector));
  }

  bind() {
    /** @param {string} selector @param {() => void} what */
    const click = (selector, what) => this.part_(selector).addEventListener('click', what);
    click('.play', () => this.toggle());
    click('.big', () => this.player?.resume());
    click('.mute', () => this.mute());
    click('.sound', () => this.mute());
    click('.live', () => this.player?.resume());
    click('.again', () => this.player?.retry());
    click('.info', () => this.facts());
    click('.fs', () => void this.fullscreen());
    click('.pip', () => void this.pip());
    const volume = /** @type {HTMLInputElement} */ (this.part_('.volume'));
    for (const name of ['swap', 'volume', 'paused']) this.part_('.box').addEventListener(name, () => this.draw());
    volume.addEventListener('input', () => this.setVolume(Number(volume.value)));
    this.addEventListener('pointermove', () => this.wake());
    this.addEventListener('pointerdown', () => this.wake());
    this.addEventListener('focusin', () => this.wake());
    this.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') this.doze();
    });
    this.part_('.box').addEventListener('dblclick', () => void this.fullscreen());
    this.part_('.box').addEventListener('click', (event) => {
      // A finger's first touch shows the controls; a mouse has shown them by moving.
      if (/** @type {PointerEvent} */ (event).pointerType !== 'touch') this.toggle();
    });
    this.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('fullscreenchange', () => this.draw());
    this.part_('.pip').hidden = !document.pictureInPictureEnabled;
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

  async fullscreen() {
    const video = /** @type {any} */ (this.player?.video);
    try {
      if (document.fullscreenElement === this) await document.exitFullscreen();
      else if (this.requestFullscreen) await this.requestFullscreen();
      else video?.webkitEnterFullscreen?.(); // an iPhone: only the picture itself
    } catch {
      // Not allowed here: a frame without the right to it.
    }
  }

  async pip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.player?.video.requestPictureInPicture();
    } catch {
      // Not allowed here, or no picture yet.
    }
  }

  wake() {
    this.part_('.all').classList.add('awake');
    clearTimeout(this.sleep);
    this.sleep = setTimeout(() => this.doze(), AWAKE);
  }

  doze() {
    if (this.player?.paused || this.matches(':focus-within:has(:focus-visible)')) return;
    if (this.root.querySelector('.bar :focus-visible')) return;
    this.part_('.all').classList.remove('awake');
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
    const button = (/** @type {string} */ selector, /** @type {string} */ icon, /** @type {string} */ label) => {
      const part = this.part_(selector);
      if (part.getAttribute('aria-label') === label) return;
      part.innerHTML = icon;
      part.setAttribute('aria-label', label);
      part.title = label;
    };
    button('.play', stopped ? ICONS.play : ICONS.pause, stopped ? 'Play (k)' : 'Pause (k)');
    const silent = player.wantsMuted || player.volume === 0;
    button('.mute', silent ? ICONS.silent : ICONS.loud, silent ? 'Sound on (m)' : 'Sound off (m)');
    const full = document.fullscreenElement === this;
    button('.fs', full ? ICONS.window : ICONS.full, full ? 'Leave full screen (f)' : 'Full screen (f)');
    const volume = /** @type {HTMLInputElement} */ (this.part_('.volume'));
    volume.value = String(silent ? 0 : player.volume);
    const live = this.part_('.live');
    live.classList.toggle('on', this.state === 'playing' && !stopped);
    live.classList.toggle('wait', this.state === 'waiting');
    live.textContent = this.state === 'waiting' ? 'WAITING' : 'LIVE';
    this.part_('.sound').hidden = !(player.wantsMuted && !player.checked.muted && this.state === 'playing' && !stopped);
    if (stopped) this.wake();
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
