/**
 * What a list of mirrors (`cluster.json`) says, and what is wrong with it. Pure: text in, values out.
 * @module
 */

/**
 * A mirror that can be asked for a stream.
 * @typedef {object} Host
 * @property {string} url Base of `/APP/STREAM.flv`, without a trailing slash.
 * @property {string} [id] The mirror's own id, where a list gave one.
 * @property {number} weight Its share of new viewers; 0 means none while another can take them.
 * @property {'ready' | 'full' | 'draining'} state
 */

/**
 * A list that was read.
 * @typedef {object} List
 * @property {Host[]} hosts
 * @property {number} ttl Milliseconds after which it is worth asking again.
 * @property {number | null} generated When it was made, milliseconds since 1970 by its maker's clock.
 * @property {number} unusable Entries that this page cannot use.
 */

/** The longest list that is read, characters: 1,000 mirrors are about 300 KiB. */
export const MAX_LIST = 2 * 1024 * 1024;
/** More mirrors than this are not looked at. */
export const MAX_HOSTS = 4096;
/** A list older than this is used, but it is said that it is old, ms. */
export const STALE = 5 * 60_000;

const DEFAULT_TTL = 5000;
const DEFAULT_WEIGHT = 100;

/** Why a list is of no use, as a sentence. */
export class ListError extends Error {}

/**
 * Whether an entry of `hosts` is the address of a list rather than of a mirror.
 * @param {string} entry
 */
export function isList(entry) {
  const path = entry.split(/[?#]/, 1)[0] ?? '';
  return path.endsWith('.json');
}

/**
 * Makes a base URL of what somebody wrote.
 * @param {string} text
 * @param {string} base What relative ones are relative to.
 */
export function baseUrl(text, base) {
  const bare = /^[a-z0-9.-]+(:\d+)?$/i.test(text) && text.includes('.') ? `http://${text}` : text;
  let url;
  try {
    url = new URL(bare, base);
  } catch {
    throw new ListError(`“${text}” is not an address.`);
  }
  if (url.protocol === 'rtmp:' || url.protocol === 'rtmps:') {
    throw new ListError(`“${text}”: browsers do not play RTMP; give the mirror's HTTP address, such as http://${url.hostname}:8080.`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new ListError(`“${text}” is not an http or https address.`);
  }
  if (url.username || url.password) throw new ListError(`“${text}” has a password in it.`);
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

/**
 * Reads a list.
 * @param {string} text
 * @param {{secure: boolean}} page Whether the page is HTTPS, which may not ask plain HTTP.
 * @returns {List}
 */
export function parseList(text, page) {
  if (text.length > MAX_LIST) throw new ListError('The list of mirrors is too long.');
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ListError('The list of mirrors is not JSON.');
  }
  if (typeof body !== 'object' || body === null || !Array.isArray(body.hosts)) {
    throw new ListError('The list of mirrors has no “hosts”.');
  }
  /** @type {Host[]} */
  const hosts = [];
  const seen = new Set();
  let unusable = 0;
  for (const entry of body.hosts.slice(0, MAX_HOSTS)) {
    const host = parseEntry(entry, page.secure);
    if (host === null) {
      unusable += 1;
    } else if (!seen.has(host.url)) {
      seen.add(host.url);
      hosts.push(host);
    }
  }
  if (hosts.length === 0 && unusable > 0) {
    throw new ListError(
      page.secure
        ? 'This page is HTTPS, and no mirror of the list has an HTTPS address.'
        : 'No mirror of the list has an HTTP address.',
    );
  }
  const ttl = typeof body.ttl === 'number' && body.ttl > 0 ? body.ttl * 1000 : DEFAULT_TTL;
  const generated = typeof body.generated === 'string' ? Date.parse(body.generated) : NaN;
  return {
    hosts,
    unusable,
    ttl: Math.min(Math.max(ttl, 1000), 60_000),
    generated: Number.isNaN(generated) ? null : generated,
  };
}

/**
 * @param {any} entry
 * @param {boolean} secure
 * @returns {Host | null}
 */
function parseEntry(entry, secure) {
  if (typeof entry !== 'object' || entry === null) return null;
  const address = secure ? entry.https : (entry.http ?? entry.https);
  if (typeof address !== 'string') return null;
  let url;
  try {
    url = baseUrl(address, 'invalid:');
  } catch {
    return null;
  }
  if (secure && !url.startsWith('https:')) return null;
  const state = entry.state === 'full' || entry.state === 'draining' ? entry.state : 'ready';
  const weight =
    typeof entry.weight === 'number' && entry.weight >= 0 ? Math.min(entry.weight, 1000) : DEFAULT_WEIGHT;
  /** @type {Host} */
  const host = { url, state, weight };
  if (typeof entry.id === 'string') host.id = entry.id.slice(0, 64);
  return host;
}
