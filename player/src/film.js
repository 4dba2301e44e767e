/**
 * `<crtmp-file>`: the player's controls around a file, with a bar to seek in. The page's own video element is
 * in it, which plays by itself where this script does not run.
 * @module
 */

import { ICONS, STYLE } from './looks.js';
import { clock } from './words.js';

/** How long the controls stay after the last movement, ms. */
const AWAKE = 2600;
/** How far the arrow keys go, s. */
const STEP = 5;

const MORE = `
::slotted(video) { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.seek { flex: 1; min-width: 4rem; height: 2.75rem; margin: 0 .4rem; accent-color: #fff; background: none; cursor: pointer; }
.time { font-size: .87em; font-variant-numeric: tabular-nums; white-space: nowrap; padding: 0 .2rem; }
@media (max-width: 30rem) { .bar { flex-wrap: wrap; } .seek { order: -1; flex-basis: 100%; height: 2rem; margin: 0; } .time { flex: 1; } }
`;

const SKELETON = `<div class="all">
<div class="box"><slot></slot></div><div class="dim"></div>
<div class="say"><div class="spin" hidden></div><button class="big" aria-label="Play">${ICONS.play}</button>
<p role="status" aria-live="polite"></p></div>
<div class="bar" role="group" aria-label="Player controls">
<button class="play"></button><button class="mute"></button>
<input class="volume" type="range" min="0" max="1" step="0.05" value="1" aria-label="Volume">
<input class="seek" type="range" min="0" max="0" step="0.1" value="0" aria-label="Position">
<span class="time"></span>
<button class="pip" aria-label="Picture in picture" hidden>${ICONS.small}</button>
<button class="fs"></button></div></div>`;

/** See the module. Its video is the first one in it; `playlist` of it is HLS for what browsers do not play as it is. */
export class CrtmpFile extends HTMLElement {
  constructor() {
    super();
    this.root = this.attachShadow({ mode: 'open' });
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.sleep = undefined;
    /** Whether the bar is being dragged, so that it does not jump back under the finger. */
    this.drags = false;
  }

  connectedCallback() {
    const video = this.querySelector('video');
    if (this.video || !video) return;
    this.video = video;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE + MORE);
    this.root.adoptedStyleSheets = [sheet];
    this.root.innerHTML = SKELETON;
    this.setAttribute('role', 'region');
    if (!this.hasAttribute('aria-label')) this.setAttribute('aria-label', video.getAttribute('aria-label') ?? 'Video');
    video.controls = false;
    this.bind(video);
    const { playlist } = video.dataset;
    if (playlist) void import('./file.js').then(({ play }) => play(video, playlist, () => this.fail()));
    else if (video.error) this.fail();
    else video.addEventListener('error', () => this.fail());
    this.draw();
    this.wake();
  }

  /** Nothing in this browser plays it. */
  fail() {
    this.hidden = true;
    this.dispatchEvent(new CustomEvent('unplayable', { bubbles: true }));
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  part_(selector) {
    return /** @type {HTMLElement} */ (this.root.querySelector(selector));
  }

  /**
   * @param {string} selector
   * @returns {HTMLInputElement}
   */
  slider(selector) {
    return /** @type {HTMLInputElement} */ (this.root.querySelector(selector));
  }

  /** @param {HTMLVideoElement} video */
  bind(video) {
    /** @param {string} selector @param {() => void} what */
    const click = (selector, what) => this.part_(selector).addEventListener('click', what);
    click('.play', () => this.toggle());
    click('.big', () => this.toggle());
    click('.mute', () => this.mute());
    click('.fs', () => void this.fullscreen());
    click('.pip', () => void this.pip());
    const volume = this.slider('.volume');
    volume.addEventListener('input', () => this.setVolume(Number(volume.value)));
    const seek = this.slider('.seek');
    seek.addEventListener('input', () => {
      this.drags = true;
      video.currentTime = Number(seek.value);
      this.draw();
    });
    seek.addEventListener('change', () => (this.drags = false));
    for (const name of ['pause', 'play', 'ended', 'volumechange', 'timeupdate', 'durationchange', 'loadedmetadata', 'seeked']) {
      video.addEventListener(name, () => this.draw());
    }
    for (const name of ['waiting', 'seeking']) video.addEventListener(name, () => this.spin(true));
    for (const name of ['playing', 'seeked', 'canplay', 'pause']) video.addEventListener(name, () => this.spin(false));
    for (const name of ['pointermove', 'pointerdown', 'focusin']) this.addEventListener(name, () => this.wake());
    this.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') this.doze();
    });
    video.addEventListener('dblclick', () => void this.fullscreen());
    video.addEventListener('click', (event) => {
      // A finger's first touch shows the controls; a mouse has shown them by moving.
      if (/** @type {PointerEvent} */ (event).pointerType !== 'touch') this.toggle();
    });
    this.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('fullscreenchange', () => this.draw());
    this.part_('.pip').hidden = !document.pictureInPictureEnabled;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { video } = this;
    if (event.ctrlKey || event.metaKey || event.altKey || !video) return;
    this.wake();
    const on = event.composedPath()[0];
    /** @type {Record<string, () => void>} */
    const keys = {
      k: () => this.toggle(),
      m: () => this.mute(),
      f: () => void this.fullscreen(),
      ArrowLeft: () => this.go(video.currentTime - STEP),
      ArrowRight: () => this.go(video.currentTime + STEP),
      Home: () => this.go(0),
      End: () => this.go(video.duration),
      ArrowUp: () => this.setVolume(video.volume + 0.1),
      ArrowDown: () => this.setVolume(video.volume - 0.1),
    };
    if (!(on instanceof HTMLButtonElement)) keys[' '] = () => this.toggle();
    const what = keys[event.key];
    // The volume's own bar has the arrows for itself.
    if (!what || (on === this.slider('.volume') && /^(Arrow|Home|End)/.test(event.key))) return;
    event.preventDefault();
    what();
  }

  /** @param {number} to seconds */
  go(to) {
    const { video } = this;
    if (!video || !Number.isFinite(video.duration)) return;
    video.currentTime = Math.min(video.duration, Math.max(0, to));
    this.draw();
  }

  toggle() {
    const { video } = this;
    if (!video) return;
    // The browser says no to a page that nobody has touched; the button stays then.
    if (video.paused || video.ended) video.play().catch(() => this.draw());
    else video.pause();
  }

  mute() {
    const { video } = this;
    if (!video) return;
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 1;
  }

  /** @param {number} to */
  setVolume(to) {
    const { video } = this;
    if (!video) return;
    video.volume = Math.min(1, Math.max(0, to));
    video.muted = video.volume === 0;
  }

  async fullscreen() {
    const video = /** @type {any} */ (this.video);
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
      else await this.video?.requestPictureInPicture();
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
    if (this.video?.paused || this.root.querySelector('.bar :focus-visible')) return;
    this.part_('.all').classList.remove('awake');
  }

  /** @param {boolean} on */
  spin(on) {
    // What takes no time is not worth a sign.
    const spin = this.part_('.spin');
    if (on) setTimeout(() => (spin.hidden = !(this.video?.seeking || (this.video && !this.video.paused && this.video.readyState < 3))), 400);
    else spin.hidden = true;
  }

  draw() {
    const { video } = this;
    if (!video) return;
    const stopped = video.paused || video.ended;
    /** @param {string} selector @param {string} icon @param {string} label */
    const button = (selector, icon, label) => {
      const part = this.part_(selector);
      if (part.getAttribute('aria-label') === label) return;
      part.innerHTML = icon;
      part.setAttribute('aria-label', label);
      part.title = label;
    };
    button('.play', stopped ? ICONS.play : ICONS.pause, stopped ? 'Play (k)' : 'Pause (k)');
    const silent = video.muted || video.volume === 0;
    button('.mute', silent ? ICONS.silent : ICONS.loud, silent ? 'Sound on (m)' : 'Sound off (m)');
    const full = document.fullscreenElement === this;
    button('.fs', full ? ICONS.window : ICONS.full, full ? 'Leave full screen (f)' : 'Full screen (f)');
    this.slider('.volume').value = String(silent ? 0 : video.volume);
    this.part_('.big').hidden = !stopped || video.currentTime > 0;
    const length = Number.isFinite(video.duration) ? video.duration : 0;
    const said = `${clock(video.currentTime)} / ${clock(length)}`;
    const seek = this.slider('.seek');
    seek.max = String(length);
    seek.disabled = length === 0;
    if (!this.drags) seek.value = String(video.currentTime);
    seek.setAttribute('aria-valuetext', said.replace('/', 'of'));
    this.part_('.time').textContent = said;
    if (stopped) this.wake();
  }
}
