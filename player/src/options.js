/**
 * What a page asks for, checked: the options of Flowplayer's cluster plugin, by their names, and more.
 * @module
 */

import { ListError, baseUrl, isList } from './lists.js';

/** @typedef {import('./lists.js').Host} Host */
/** @typedef {import('./machine.js').Protocol} Protocol */

/**
 * @typedef {object} Options
 * @property {string} stream `APP/STREAM`.
 * @property {string | (string | {host: string, weight?: number})[]} [hosts] Mirrors (`http://host:8080`),
 *   and addresses of lists (`…/cluster.json`); mirrors beside lists are used while no list has any. By
 *   default the list of the page's own server, then that server itself.
 * @property {number} [connectTimeout] ms until a mirror must have answered; 2000.
 * @property {number} [connectCount] Passes over the mirrors before onFailed; 3.
 * @property {boolean} [loadBalance] Choose by chance, in proportion to weight, rather than in order; by
 *   default true with a list, and false without.
 * @property {number} [failureExpiry] ms after which a mirror that failed may be chosen again; 10000.
 * @property {number} [stallTimeout] ms without media before another mirror is tried; 3000.
 * @property {Protocol[]} [protocols] Ways of playing, best first; `['flv', 'hls', 'native']`.
 * @property {boolean} [autoplay] Play without being asked, muted if it must be; true.
 * @property {boolean} [muted] Begin without sound; false.
 * @property {(host: string, index: number) => void} [onConnect] Before each attempt.
 * @property {(host: string, index: number, why: string, detail: string) => void} [onConnectFailed]
 * @property {(detail?: string) => void} [onFailed] Nobody was to be had; it goes on trying.
 * @property {(from: string, to: string, why: string, ms: number) => void} [onSwitch] Another mirror plays;
 *   `ms` is the time without a new picture.
 * @property {(stats: import('./player.js').Stats) => void} [onStats] Once a second.
 * @property {(state: string, sentence: string) => void} [onState] What to tell the person who watches.
 */

/**
 * @typedef {Required<Omit<Options, 'hosts' | 'onConnect' | 'onConnectFailed' | 'onFailed' | 'onSwitch' | 'onStats' | 'onState'>>
 *   & {lists: string[], fixed: Host[]}} Checked
 */

/** A mistake in the options, as a sentence. */
export class OptionError extends Error {}

const PROTOCOLS = ['flv', 'hls', 'native'];

/**
 * @param {Options} options
 * @param {string} base The address of the page.
 * @returns {Checked}
 */
export function check(options, base) {
  const stream = String(options.stream ?? '').replace(/^\/+/, '');
  if (!/^[^/?#\s]+\/[^?#\s]+$/.test(stream)) {
    throw new OptionError(`“stream” is ${JSON.stringify(options.stream ?? null)}; it should be APP/STREAM, such as live/event.`);
  }
  const { lists, fixed } = readHosts(options.hosts, base);
  const protocols = options.protocols ?? /** @type {Protocol[]} */ (PROTOCOLS);
  for (const protocol of protocols) {
    if (!PROTOCOLS.includes(protocol)) throw new OptionError(`“protocols”: “${protocol}” is none of ${PROTOCOLS.join(', ')}.`);
  }
  return {
    stream,
    lists,
    fixed,
    connectTimeout: number('connectTimeout', options.connectTimeout, 2000, 100, 60_000),
    connectCount: number('connectCount', options.connectCount, 3, 1, 1000),
    failureExpiry: number('failureExpiry', options.failureExpiry, 10_000, 0, 24 * 3600_000),
    stallTimeout: number('stallTimeout', options.stallTimeout, 3000, 500, 60_000),
    loadBalance: options.loadBalance ?? lists.length > 0,
    protocols,
    autoplay: options.autoplay ?? true,
    muted: options.muted ?? false,
  };
}

/**
 * @param {Options['hosts']} hosts
 * @param {string} base
 * @returns {{lists: string[], fixed: Host[]}}
 */
function readHosts(hosts, base) {
  const entries = typeof hosts === 'string' ? hosts.split(/[\s,]+/).filter(Boolean) : (hosts ?? []);
  if (entries.length === 0) entries.push('/cluster.json', '/');
  /** @type {string[]} */
  const lists = [];
  /** @type {Host[]} */
  const fixed = [];
  for (const entry of entries) {
    const text = typeof entry === 'string' ? entry : entry?.host;
    if (typeof text !== 'string') throw new OptionError('“hosts”: each is an address, or {host: address}.');
    try {
      const url = baseUrl(text, base);
      if (isList(text)) lists.push(new URL(text, base).href);
      else fixed.push({ url, state: 'ready', weight: weight(entry) });
    } catch (error) {
      if (error instanceof ListError) throw new OptionError(`“hosts”: ${error.message}`);
      throw error;
    }
  }
  return { lists, fixed };
}

/** @param {string | {weight?: number}} entry */
function weight(entry) {
  return typeof entry === 'object' ? number('weight', entry.weight, 100, 0, 1000) : 100;
}

/**
 * @param {string} name
 * @param {number | undefined} value
 * @param {number} otherwise
 * @param {number} min
 * @param {number} max
 */
function number(name, value, otherwise, min, max) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new OptionError(`“${name}” is ${JSON.stringify(value)}; it should be a number from ${min} to ${max}.`);
  }
  return value;
}
