/**
 * What people are told.
 * @module
 */

/** @type {Record<string, string>} */
const SENTENCES = {
  idle: '',
  connecting: 'Connecting…',
  playing: '',
  waiting: 'The stream is paused at its source. It goes on by itself.',
  switching: 'Changing to another server…',
  offline: 'This stream is not live. It starts here by itself when it begins.',
  failed: 'No server answers. Still trying.',
  full: 'No server takes more viewers at the moment. Still trying.',
  unready: 'The servers answer, but none has this stream at the moment. Still trying.',
  nohosts: 'There is no server to ask. Still trying.',
  unsupported: 'This browser cannot play this stream.',
  disconnected: 'This device is offline. It goes on as soon as the network is back.',
  blocked: 'Press play to watch.',
  nomse:
    'This browser can play neither HTTP-FLV nor HLS: it lacks Media Source Extensions. A current Chrome, Edge, Firefox or Safari can, and so can VLC.',
};

/**
 * A time as people write it: `1:05`, `2:00:09`.
 * @param {number} seconds
 */
export function clock(seconds) {
  const all = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  /** @param {number} n */
  const two = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/**
 * The sentence for a state.
 * @param {string} state
 * @param {{online: boolean, trouble?: string}} about Whether the device has a network; what is wrong with
 *   the list of mirrors.
 */
export function sentence(state, about) {
  const searching = state === 'failed' || state === 'nohosts' || state === 'switching' || state === 'connecting';
  if (!about.online && searching) return SENTENCES.disconnected ?? '';
  const text = SENTENCES[state] ?? '';
  const blame = (state === 'nohosts' || state === 'failed') && about.trouble;
  return blame ? `${about.trouble} ${text}` : text;
}
