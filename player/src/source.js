/**
 * Where the mirrors come from: asks the addresses of lists, keeps the last good one.
 * @module
 */

import { ListError, MAX_LIST, STALE, parseList } from './lists.js';

/** @typedef {import('./lists.js').Host} Host */
/** @typedef {import('./lists.js').List} List */

/** How long an address may take to answer, ms. */
const PATIENCE = 3000;
/** A list kept from an earlier visit is used for so long, ms. */
const KEEP = 24 * 3600_000;

/** See the module. */
export class Source {
  /**
   * @param {object} options
   * @param {string[]} options.lists Addresses of lists, tried in this order.
   * @param {Host[]} options.hosts Mirrors to use while no list has any.
   * @param {boolean} options.secure Whether the page is HTTPS.
   * @param {Pick<Storage, 'getItem' | 'setItem'> | null} options.storage Where a good list is kept.
   * @param {typeof fetch} [options.fetch]
   */
  constructor(options) {
    this.options = options;
    this.fetch = options.fetch ?? ((...a) => fetch(...a));
    /** What is wrong, as a sentence; empty when nothing is. */
    this.trouble = '';
    this.ttl = 5000;
    /** The last good list. @type {{hosts: Host[], generated: number | null} | null} */
    this.good = null;
  }

  /** What there is now, without asking anybody. @returns {Host[]} */
  hosts() {
    return this.good?.hosts ?? this.options.hosts;
  }

  /**
   * Takes what an earlier visit kept; only worth it when no list answers.
   * @param {number} now
   */
  remember(now) {
    const { storage, lists, secure } = this.options;
    if (this.good || !storage) return;
    try {
      const kept = JSON.parse(storage.getItem(key(lists)) ?? 'null');
      if (typeof kept?.at !== 'number' || now - kept.at > KEEP || typeof kept.text !== 'string') return;
      const { hosts, generated } = parseList(kept.text, { secure });
      if (hosts.length > 0) this.good = { hosts, generated };
    } catch {
      // What was kept is of another version, or storage is forbidden: as if there were nothing.
    }
  }

  /**
   * Asks the lists; the first good one wins. A list that is old or empty gives way to one that is not.
   * @param {number} now
   * @param {string[]} [more] Further addresses, when none of the others answers.
   */
  async refresh(now, more = []) {
    const { lists, secure, storage } = this.options;
    if (lists.length === 0) return;
    /** @type {{list: List, text: string} | null} */
    let best = null;
    let trouble = '';
    for (const url of [...lists, ...more.filter((m) => !lists.includes(m))]) {
      try {
        const text = await this.ask(url);
        const list = parseList(text, { secure });
        if (list.hosts.length === 0) throw new ListError('The list of mirrors is empty.');
        if (!best || (list.generated ?? 0) > (best.list.generated ?? 0)) best = { list, text };
        if (!old(list, now)) break;
      } catch (error) {
        trouble ||= error instanceof ListError ? error.message : 'The list of mirrors does not answer.';
      }
    }
    if (best) {
      const { list, text } = best;
      this.ttl = list.ttl;
      this.good = { hosts: list.hosts, generated: list.generated };
      this.trouble = old(list, now) ? `The list of mirrors is ${minutes(now - (list.generated ?? now))} old.` : '';
      try {
        storage?.setItem(key(lists), JSON.stringify({ at: now, text }));
      } catch {
        // No room, or forbidden: then it is not kept.
      }
    } else {
      this.trouble = this.good ? `${trouble} The last good one is used.` : trouble;
    }
  }

  /**
   * @param {string} url
   * @returns {Promise<string>}
   */
  async ask(url) {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), PATIENCE);
    try {
      const answer = await this.fetch(url, { signal: patience.signal, referrerPolicy: 'no-referrer' });
      if (!answer.ok) throw new ListError(`The list of mirrors is not there (HTTP ${answer.status}).`);
      const length = Number(answer.headers.get('Content-Length') ?? 0);
      if (length > MAX_LIST) throw new ListError('The list of mirrors is too long.');
      return await answer.text();
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @param {string[]} lists */
function key(lists) {
  return `crtmpserver-player:${lists.join(' ')}`;
}

/**
 * @param {List} list
 * @param {number} now
 */
function old(list, now) {
  return list.generated !== null && now - list.generated > STALE;
}

/** @param {number} ms */
function minutes(ms) {
  const n = Math.round(ms / 60_000);
  return n < 120 ? `${n} minutes` : `${Math.round(n / 60)} hours`;
}
