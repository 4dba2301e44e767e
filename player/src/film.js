/**
 * `<crtmp-file>`: the player's controls around a file, with a bar to seek in. The page's own video element is
 * in it, which plays by itself where this script does not run.
 * @module
 */

import { Controls } from './controls.js';
import { ICONS, STYLE } from './looks.js';
import { clock } from './words.js';

/** How far the arrow keys go, s. */
const STEP = 5;

const MORE = `
::slotted(video) { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.seek { flex: 1; min-width: 4rem; height: 2.75rem; margin: 0 .4rem; accent-color: #fff; background: none; cursor: pointer; }
.time { font-size: .87em; font-variant-numeric: tabular-nums; white-space: nowrap; padding: 0 .2rem; }
@media (max-width: 30rem) { .bar { flex-wrap: wrap; } .seek { order: -1; flex-basis: 100%; height: 2rem; margin: 0; } .time { flex: 1; } }
`;

const SKELETON = `<div class="box"><slot></slot></div><div class="dim"></div>
<div class="say"><div class="spin" hidden></div><button class="big" aria-label="Play">${ICONS.play}</button>
<p role="status" aria-live="polite"></p></div>
<div class="bar" role="group" aria-label="Player controls">
<button class="play"></button><button class="mute"></button>
<input class="volume" type="range" min="0" max="1" step="0.05" value="1" aria-label="Volume">
<input class="seek" type="range" min="0" max="0" step="0.1" value="0" aria-label="Position">
<span class="time"></span>
<button class="pip" aria-label="Picture in picture" hidden>${ICONS.small}</button>
<button class="fs"></button></div>`;

/** See the module. Its video is the first one in it; `playlist` of it is HLS for what browsers do not play as it is. */
export class CrtmpFile extends Controls {
  constructor() {
    super();
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    /** Whether the bar is being dragged, so that it does not jump back under the finger. */
    this.drags = false;
  }

  connectedCallback() {
    const video = this.querySelector('video');
    if (this.video || !video) return;
    this.video = video;
    this.dress(SKELETON, STYLE + MORE);
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

  get picture() {
    return this.video;
  }

  get stays() {
    return this.video?.paused || super.stays;
  }

  /** @param {HTMLVideoElement} video */
  bind(video) {
    this.bindAll(video);
    this.press('.big', () => this.toggle());
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
    this.drawAll({ stopped, silent: video.muted || video.volume === 0, volume: video.volume });
    this.part_('.big').hidden = !stopped || video.currentTime > 0;
    const length = Number.isFinite(video.duration) ? video.duration : 0;
    const said = `${clock(video.currentTime)} / ${clock(length)}`;
    const seek = this.slider('.seek');
    seek.max = String(length);
    seek.disabled = length === 0;
    if (!this.drags) seek.value = String(video.currentTime);
    seek.setAttribute('aria-valuetext', said.replace('/', 'of'));
    this.part_('.time').textContent = said;
  }
}
