/**
 * How the player looks.
 * @module
 */

export const STYLE = `
:host { display: block; position: relative; aspect-ratio: 16 / 9; background: #05080b; color: #f3f7fa;
  border-radius: var(--crtmp-radius, .75rem); overflow: hidden; isolation: isolate;
  font: 15px/1.45 system-ui, sans-serif; -webkit-tap-highlight-color: transparent; }
:host([hidden]) { display: none; }
:host(:fullscreen) { border-radius: 0; aspect-ratio: auto; }
* { box-sizing: border-box; }
.box, video { position: absolute; inset: 0; width: 100%; height: 100%; }
video { object-fit: contain; visibility: hidden; }
video.shown { visibility: visible; z-index: 1; }
.dim { position: absolute; inset: 0; z-index: 2; pointer-events: none; opacity: 0; transition: opacity .2s;
  background: linear-gradient(#0006, transparent 25%, transparent 65%, #000b); }
.awake .dim, .told .dim { opacity: 1; }
.told.still .dim { background: #05080b; opacity: .55; }
.say { position: absolute; inset: 0 0 3rem; z-index: 3; display: flex; flex-direction: column; gap: 1rem;
  align-items: center; justify-content: center; padding: 1rem; text-align: center; pointer-events: none; }
.say p { margin: 0; max-width: 34rem; font-size: 1.05em; text-wrap: balance; text-shadow: 0 1px 6px #000c; }
.say p:not(:empty) { padding: .45rem 1rem; border-radius: .6rem; background: #05080bd9; }
.say button { pointer-events: auto; }
.spin { width: 2.4rem; height: 2.4rem; border-radius: 50%; border: 3px solid #fff3; border-top-color: #fff;
  animation: spin 1s linear infinite; }
@keyframes spin { to { transform: rotate(1turn); } }
.big { width: 4.75rem; height: 4.75rem; border-radius: 50%; background: #fff; color: #0b1116; padding: 0 0 0 .3rem;
  box-shadow: 0 4px 24px #0008; }
.big svg { width: 2.4rem; height: 2.4rem; }
.again { background: #fff; color: #0b1116; border-radius: 2rem; padding: .5rem 1.25rem; font-weight: 600; }
.sound { position: absolute; z-index: 4; top: .9rem; left: .9rem; background: #fff; color: #0b1116; font-weight: 600;
  border-radius: 2rem; padding: .4rem 1rem .4rem .7rem; gap: .4rem; box-shadow: 0 2px 12px #0007; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; margin: 0; cursor: pointer;
  display: inline-flex; align-items: center; justify-content: center; }
button:focus-visible, input:focus-visible { outline: 3px solid #7cc4ff; outline-offset: 2px; }
svg { width: 1.5rem; height: 1.5rem; fill: currentColor; display: block; }
.bar { position: absolute; z-index: 4; inset: auto 0 0; display: flex; align-items: center; gap: .25rem;
  padding: .4rem .6rem calc(.4rem + env(safe-area-inset-bottom, 0px)); opacity: 0; transition: opacity .2s; }
.awake .bar, .bar:focus-within { opacity: 1; }
.bar button { min-width: 2.75rem; height: 2.75rem; border-radius: .5rem; }
.bar button:hover { background: #fff2; }
.bar .live { padding: 0 .75rem; gap: .5rem; font-weight: 650; font-size: .8em; letter-spacing: .06em; }
.live::before { content: ""; width: .6rem; height: .6rem; border-radius: 50%; background: #8d99a5; }
.live.on::before { background: #ff4438; box-shadow: 0 0 0 3px #ff443840; }
.live.wait::before { background: #ffb648; }
.space { flex: 1; }
.volume { width: 5.5rem; height: 2.75rem; margin: 0 .4rem 0 0; accent-color: #fff; background: none; cursor: pointer; }
.facts { position: absolute; z-index: 5; top: .9rem; right: .9rem; max-width: calc(100% - 1.8rem);
  max-height: calc(100% - 4.6rem); overflow: auto; padding: .75rem 1rem; border-radius: .6rem; background: #0b1116e8;
  border: 1px solid #fff2; font-size: .87em; }
.facts dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .15rem .9rem; margin: 0; }
.facts dt { color: #a9b8c6; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.facts .note { margin: .5rem 0 0; color: #ffd08a; }
[hidden] { display: none !important; }
@media (hover: none), (max-width: 30rem) { .volume { display: none; } }
@media (max-width: 30rem) { .facts { top: .5rem; right: .5rem; padding: .4rem .7rem; font-size: .76em; line-height: 1.35;
  max-height: calc(100% - 1rem); } .facts dl { gap: 0 .7rem; } }
@media (prefers-reduced-motion: reduce) { .spin { animation-duration: 6s; } .dim, .bar { transition: none; } }
@media (forced-colors: active) { .bar, .facts, .again, .sound { border: 1px solid; } }
`;

/** @param {string} d */
const icon = (d) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${d}"/></svg>`;

export const ICONS = {
  play: icon('M8 5.1v13.8c0 .8.9 1.3 1.5.8l10.3-6.9c.6-.4.6-1.2 0-1.6L9.5 4.3C8.9 3.8 8 4.3 8 5.1z'),
  pause: icon('M7.5 4.5h2a1 1 0 0 1 1 1v13a1 1 0 0 1-1 1h-2a1 1 0 0 1-1-1v-13a1 1 0 0 1 1-1zm7 0h2a1 1 0 0 1 1 1v13a1 1 0 0 1-1 1h-2a1 1 0 0 1-1-1v-13a1 1 0 0 1 1-1z'),
  loud: icon('M4 9v6h4l4.3 3.9c.6.6 1.7.100 1.7-.8V5.9c0-.9-1.1-1.4-1.7-.8L8 9H4zm12-1.8v9.6a5 5 0 0 0 0-9.6zm0-3.9v1.9a7 7 0 0 1 0 13.6v1.9a9 9 0 0 0 0-17.4z'),
  silent: icon('M4 9v6h4l4.3 3.9c.6.6 1.7.100 1.7-.8V5.9c0-.9-1.1-1.4-1.7-.8L8 9H4zm12.1-.3L15 9.8 17.2 12 15 14.2l1.1 1.1 2.2-2.2 2.2 2.2 1.1-1.1-2.2-2.2 2.2-2.2-1.1-1.1-2.2 2.2-2.2-2.2z'),
  facts: icon('M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19zm0 2a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15zM11 7v2h2V7h-2zm0 4v6h2v-6h-2z'),
  small: icon('M4 5h16a1 1 0 0 1 1 1v5h-2V7H5v10h6v2H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zm9 8h7a1 1 0 0 1 1 1v4a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-4a1 1 0 0 1 1-1z'),
  full: icon('M4 4h6v2H6v4H4V4zm10 0h6v6h-2V6h-4V4zM4 14h2v4h4v2H4v-6zm14 0h2v6h-6v-2h4v-4z'),
  window: icon('M8 4h2v6H4V8h4V4zm6 0h2v4h4v2h-6V4zM4 14h6v6H8v-4H4v-2zm10 0h6v2h-4v4h-2v-6z'),
};

export const SKELETON = `
<div class="box" part="box"></div><div class="dim"></div>
<div class="say"><div class="spin" hidden></div><button class="big" hidden aria-label="Play">${ICONS.play}</button>
<p role="status" aria-live="polite"></p><button class="again" hidden>Try again now</button></div>
<button class="sound" hidden>${ICONS.silent}Sound on</button>
<section class="facts" hidden aria-label="Details"><dl></dl><p class="note" hidden></p></section>
<div class="bar" role="group" aria-label="Player controls">
<button class="play"></button><button class="mute"></button>
<input class="volume" type="range" min="0" max="1" step="0.05" value="1" aria-label="Volume">
<button class="live" aria-label="Go to the live picture">LIVE</button><span class="space"></span>
<button class="info" aria-label="Details: mirror and delay" aria-expanded="false">${ICONS.facts}</button>
<button class="pip" aria-label="Picture in picture" hidden>${ICONS.small}</button>
<button class="fs"></button></div>`;
