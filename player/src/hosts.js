/**
 * The mirrors to choose from: which come into question, and which one is next. Pure; time and chance
 * are arguments.
 * @module
 */

/** @typedef {import('./lists.js').Host} Host */

/**
 * What is remembered of a mirror that failed; it may be chosen again from `until` on.
 * @typedef {object} Mark
 * @property {number} until Milliseconds since 1970.
 */

/** See the module. */
export class Hosts {
  /** @param {{loadBalance: boolean, failureExpiry: number, random: () => number}} options */
  constructor(options) {
    this.options = options;
    /** @type {Host[]} */
    this.list = [];
    /** @type {Map<string, Mark>} */
    this.marks = new Map();
    /** Whether what is remembered has changed since somebody looked. */
    this.changed = false;
    /** Mirrors that another one named, and that are in no list. @type {Map<string, Host>} */
    this.guests = new Map();
  }

  /**
   * Takes a new list; what is remembered of its mirrors stays.
   * @param {Host[]} list
   */
  set(list) {
    this.list = list;
    for (const host of list) this.guests.delete(host.url);
  }

  /** Every mirror that is known, those in the list first. */
  all() {
    return [...this.list, ...this.guests.values()];
  }

  /**
   * The position in the list, as events tell it.
   * @param {Host} host
   */
  index(host) {
    return this.all().findIndex((h) => h.url === host.url);
  }

  /**
   * A mirror named another one.
   * @param {string} url
   */
  invite(url) {
    if (this.all().some((h) => h.url === url) || this.guests.size >= 8) return;
    this.guests.set(url, { url, weight: 100, state: 'ready' });
  }

  /**
   * It failed: it is not chosen for a while, as long as there is another.
   * @param {Host} host
   * @param {number} now
   * @param {number} [lasting] Instead of `failureExpiry`, ms.
   */
  fail(host, now, lasting = this.options.failureExpiry) {
    this.marks.set(host.url, { until: now + lasting });
    this.changed = true;
    if (this.marks.size > 256) this.forget(now);
  }

  /** @param {Host} host */
  forgive(host) {
    if (this.marks.delete(host.url)) this.changed = true;
  }

  /**
   * Forgets what has expired.
   * @param {number} now
   */
  forget(now) {
    for (const [url, mark] of this.marks) {
      if (mark.until <= now) this.marks.delete(url);
    }
  }

  /**
   * What is remembered, as text for the next page.
   * @param {number} now
   */
  kept(now) {
    this.forget(now);
    return JSON.stringify([...this.marks].map(([url, { until }]) => [url, until]));
  }

  /**
   * Takes what an earlier page kept.
   * @param {string | null} text Anything: a page may have written there what it liked.
   * @param {number} now
   */
  remember(text, now) {
    /** @type {unknown} */
    let kept = null;
    try {
      kept = JSON.parse(text ?? 'null');
    } catch {
      // Not ours.
    }
    for (const entry of Array.isArray(kept) ? kept.slice(0, 256) : []) {
      const [url, until] = Array.isArray(entry) ? entry : [];
      if (typeof url !== 'string' || typeof until !== 'number' || !(until > now)) continue;
      // The clock may have been set meanwhile: nobody is shunned for longer than a failure is.
      this.marks.set(url, { until: Math.min(until, now + this.options.failureExpiry) });
    }
  }

  /**
   * Whether it failed a short time ago.
   * @param {Host} host
   * @param {number} now
   */
  failed(host, now) {
    const mark = this.marks.get(host.url);
    return mark !== undefined && mark.until > now;
  }

  /**
   * The next mirror to try. Ready ones first; then those that are full or leave, which may have changed
   * their mind; those that failed only where the pass would have nobody at all, or where one pass was in
   * vain: from then on each goes over everybody.
   * @param {ReadonlySet<string>} tried URLs that this pass has tried.
   * @param {number} now
   * @param {string | null} [except] The URL of the mirror to get away from.
   * @param {boolean} [vain] Whether a pass was in vain.
   * @returns {Host | null}
   */
  next(tried, now, except = null, vain = false) {
    const open = this.all().filter((h) => !tried.has(h.url) && h.url !== except);
    const good = open.filter((h) => !this.failed(h, now));
    const ready = good.filter((h) => h.state === 'ready');
    const found = this.choose(ready.length > 0 ? ready : good);
    if (found !== null || (tried.size > 0 && !vain)) return found;
    return this.choose(open);
  }

  /**
   * @param {Host[]} from
   * @returns {Host | null}
   */
  choose(from) {
    const first = from[0];
    if (first === undefined) return null;
    if (!this.options.loadBalance) return first;
    return weighted(from, this.options.random);
  }
}

/**
 * One of them by chance, in proportion to its weight; all alike when no weight is above zero.
 * @template {{weight: number}} T
 * @param {T[]} from
 * @param {() => number} random From 0 up to, and without, 1.
 * @returns {T | null}
 */
export function weighted(from, random) {
  const total = from.reduce((sum, h) => sum + h.weight, 0);
  let at = random() * (total > 0 ? total : from.length);
  for (const item of from) {
    at -= total > 0 ? item.weight : 1;
    if (at < 0) return item;
  }
  return from[from.length - 1] ?? null;
}
