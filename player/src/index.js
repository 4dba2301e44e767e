/**
 * The player of crtmpserver: `new Player(box, options)`, or `<crtmp-player stream="live/event">` with
 * controls.
 * @module
 */

import { CrtmpPlayer } from './element.js';

export { CrtmpPlayer } from './element.js';
export { Player } from './player.js';
export { OptionError } from './options.js';

/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./player.js').Stats} Stats */

// A page may load the module twice, from two mirrors.
if (!customElements.get('crtmp-player')) customElements.define('crtmp-player', CrtmpPlayer);
