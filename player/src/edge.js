/**
 * Staying at the live edge: what to do with a picture that is behind, or stuck before a hole. Pure.
 * @module
 */

/**
 * @typedef {object} View
 * @property {number} time Where the picture is, s.
 * @property {[number, number][]} buffered What there is, s, in order.
 * @property {number} rate The speed of playing now.
 * @property {boolean} ready Whether the next picture is there.
 */

/** How far behind what has come the picture should be, s. */
export const TARGET = 0.7;
/** Behind this much it catches up by playing faster, s. */
export const LATE = 1.2;
/** With less than this it plays slower: who came just behind a key frame has nothing to spare, s. */
export const TIGHT = 0.3;
/** Behind this much it jumps, s. */
export const FAR = 4;
/** Nobody hears this much faster, or slower: the pitch is kept. */
const FASTER = 1.1;
const SLOWER = 0.95;

/**
 * What to do; null to leave it as it is.
 * @param {View} view
 * @returns {{seek: number} | {rate: number} | null}
 */
export function steer(view) {
  const last = view.buffered[view.buffered.length - 1];
  if (last === undefined) return null;
  const [start, end] = last;
  const behind = end - view.time;
  // Before a hole, or before the first picture of all: nothing will ever fill it.
  const inside = view.buffered.some(([from, to]) => view.time >= from - 0.05 && view.time < to - 0.02);
  if (!inside && view.time < start) return { seek: Math.max(start, end - TARGET) };
  if (behind > FAR) return { seek: Math.max(start, end - TARGET) };
  if (behind > LATE && view.rate === 1 && view.ready) return { rate: FASTER };
  if (behind < TIGHT && view.rate === 1 && view.ready) return { rate: SLOWER };
  if (view.rate > 1 ? behind <= TARGET : view.rate < 1 && behind >= TARGET) return { rate: 1 };
  return null;
}

/**
 * Where to begin, when the first picture is there: a cached GOP may be some seconds long.
 * @param {number} time
 * @param {[number, number][]} buffered
 * @returns {number | null} Where to go, s; null to stay.
 */
export function begin(time, buffered) {
  const last = buffered[buffered.length - 1];
  if (last === undefined) return null;
  const at = Math.max(last[0], last[1] - TARGET);
  return at - time > 0.3 || time < last[0] - 0.05 ? at : null;
}
