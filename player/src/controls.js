/**
 * What all players of this project have around their picture: buttons, the volume, keys' way to them, full
 * screen, and controls that go away when nobody moves.
 * @module
 */

import { ICONS } from './looks.js';

/** How long the controls stay after the last movement, ms. */
const AWAKE = 2600;

/** What the volume is, and whether it plays. @typedef {{ stopped: boolean, silent: boolean, volume: number }} Shown */

/** The element's part of it; what plays, and how, is its descendants'. */
export class Controls extends HTMLElement {
  constructor() {
    super();
    this.root = this.attachShadow({ mode: 'open' });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.sleep = undefined;
  }

  /** The video element on the screen. @returns {HTMLVideoElement | null | undefined} */
  get picture() {
    return null;
  }

  /** Whether the controls have a reason to stay. */
  get stays() {
    return this.root.querySelector('.bar :focus-visible') !== null;
  }

  /** Play, or stop. */
  toggle() {}

  /** Sound on, or off. */
  mute() {}

  /** @param {number} _ 0 to 1 */
  setVolume(_) {}

  /** Shows how things are. */
  draw() {}

  /** @param {KeyboardEvent} _ */
  key(_) {}

  /**
   * @param {string} skeleton
   * @param {string} style
   */
  dress(skeleton, style) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    this.root.adoptedStyleSheets = [sheet];
    this.root.innerHTML = `<div class="all">${skeleton}</div>`;
    this.part_('.pip').hidden = !document.pictureInPictureEnabled;
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

  /** @param {string} selector @param {() => void} what */
  press(selector, what) {
    this.part_(selector).addEventListener('click', what);
  }

  /** The parts that every player has; `stage` is what is pointed at to play, to stop and to enlarge. @param {HTMLElement} stage */
  bindAll(stage) {
    this.press('.play', () => this.toggle());
    this.press('.mute', () => this.mute());
    this.press('.fs', () => void this.fullscreen());
    this.press('.pip', () => void this.pip());
    const volume = this.slider('.volume');
    volume.addEventListener('input', () => this.setVolume(Number(volume.value)));
    for (const name of ['pointermove', 'pointerdown', 'focusin']) this.addEventListener(name, () => this.wake());
    this.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') this.doze();
    });
    stage.addEventListener('dblclick', () => void this.fullscreen());
    stage.addEventListener('click', (event) => {
      // A finger's first touch shows the controls; a mouse has shown them by moving.
      if (/** @type {PointerEvent} */ (event).pointerType !== 'touch') this.toggle();
    });
    this.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('fullscreenchange', () => this.draw());
  }

  async fullscreen() {
    const video = /** @type {any} */ (this.picture);
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
      else await this.picture?.requestPictureInPicture();
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
    if (!this.stays) this.part_('.all').classList.remove('awake');
  }

  /** Draws the parts that every player has. @param {Shown} shown */
  drawAll({ stopped, silent, volume }) {
    this.button('.play', stopped ? ICONS.play : ICONS.pause, stopped ? 'Play (k)' : 'Pause (k)');
    this.button('.mute', silent ? ICONS.silent : ICONS.loud, silent ? 'Sound on (m)' : 'Sound off (m)');
    const full = document.fullscreenElement === this;
    this.button('.fs', full ? ICONS.window : ICONS.full, full ? 'Leave full screen (f)' : 'Full screen (f)');
    this.slider('.volume').value = String(silent ? 0 : volume);
    if (stopped) this.wake();
  }

  /**
   * @param {string} selector
   * @param {string} icon
   * @param {string} label
   */
  button(selector, icon, label) {
    const part = this.part_(selector);
    if (part.getAttribute('aria-label') === label) return;
    part.innerHTML = icon;
    part.setAttribute('aria-label', label);
    part.title = label;
  }
}
