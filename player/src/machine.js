/**
 * Which mirror plays, and when to move on: a state machine without clock, network or page. It is told
 * what happened, with the time; `take` gives what is to be done.
 *
 * Up to two connections live at once: `current`, whose picture is shown (its last one stays when it has
 * died), and `next`, which takes over at its first picture.
 * @module
 */

import { Hosts } from './hosts.js';

/** @typedef {import('./lists.js').Host} Host */
/** @typedef {'flv' | 'hls' | 'native'} Protocol */

/**
 * Why a connection is of no use.
 *
 * `refused` no answer at all, `timeout` none in time, `http` an answer that is an error, `busy` full or
 * leaving, `missing` no such stream there, `ended` closed, `stalled` silent, `broken` what came cannot
 * be played, `unsupported` this browser cannot play it in this way.
 * @typedef {'refused' | 'timeout' | 'http' | 'busy' | 'missing' | 'ended' | 'stalled' | 'broken' | 'unsupported'} Why
 */

/**
 * @typedef {object} Failure
 * @property {Why} why
 * @property {string} [detail] For people who look closer.
 * @property {number} [retryAfter] `busy`: when to ask again, ms.
 * @property {string} [sibling] `busy`: who has room.
 */

/**
 * One connection.
 * @typedef {object} Link
 * @property {number} id
 * @property {Host} host
 * @property {Protocol} protocol
 * @property {number} since
 * @property {number | null} opened When the server answered.
 * @property {number | null} framed When the first picture was there.
 * @property {number} sign When it last gave a sign of life.
 * @property {boolean} waiting The mirror says that the stream waits for its source.
 * @property {boolean} dead It is over; only its last picture is used.
 * @property {number} pace How long it may be silent, ms.
 */

/**
 * What a viewer is to be told.
 * @typedef {'idle' | 'connecting' | 'playing' | 'waiting' | 'switching' | 'offline' | 'failed' | 'full' | 'unready'
 *   | 'unsupported' | 'nohosts'} State
 */

/**
 * What is to be done: `open` and `close` a connection, `halt` it but keep its last picture, `show` it
 * instead of the other, `refresh` the lists, tell an event (`emit`).
 * @typedef {{do: 'open', id: number, host: Host, protocol: Protocol}
 *   | {do: 'close' | 'halt' | 'show', id: number}
 *   | {do: 'refresh'}
 *   | {do: 'emit', event: string, args: any[]}} Action
 */

/**
 * @typedef {object} MachineOptions
 * @property {number} connectTimeout ms until a server must have answered.
 * @property {number} connectCount Passes over the list before `failed` is told.
 * @property {number} failureExpiry ms after which a mirror that failed may be chosen again.
 * @property {number} stallTimeout ms without media before the next mirror is tried.
 * @property {boolean} loadBalance
 * @property {Protocol[]} protocols What this browser can do, best first.
 */

/** The longest pause between two tries, ms. */
const LONGEST_REST = 8000;
/** How long a stream that is nowhere is left alone before it is asked for again, ms. */
const OFFLINE_REST = 2000;
/** How often a viewer of a leaving mirror looks for another, ms. */
const DRAIN_REST = 1500;
/** What was said of a search in vain stays said during the next one. @type {Set<State>} */
const VAIN = new Set(['offline', 'failed', 'full', 'unready']);
/** @returns {{missing: number, failed: number, busy: number, http: number, mute: number}} */
const nothingSeen = () => ({ missing: 0, failed: 0, busy: 0, http: 0, mute: 0 });

/** See the module. */
export class Machine {
  /**
   * @param {MachineOptions} options
   * @param {() => number} [random]
   */
  constructor(options, random = Math.random) {
    this.options = options;
    this.random = random;
    this.hosts = new Hosts({ ...options, random });
    /** @type {Action[]} */
    this.actions = [];
    /** @type {Link | null} */
    this.current = null;
    /** @type {Link | null} */
    this.next = null;
    /** @type {State} */
    this.state = 'idle';
    this.running = false;
    this.ids = 0;
    this.protocol = 0;
    /** URLs that this pass has tried. @type {Set<string>} */
    this.tried = new Set();
    /**
     * How this pass's tries ended. Of those that `failed`, `busy` and `http` did so in so many words, and
     * `mute` answered but gave no picture.
     */
    this.seen = nothingSeen();
    this.pass = 0;
    /** Whether a pass was in vain since there was a picture. */
    this.vain = false;
    /** When a rest is over. @type {number | null} */
    this.resting = null;
    /** Since when there is no picture that moves, and why. @type {{at: number, why: string} | null} */
    this.lost = null;
    /** How often the search failed in a row. */
    this.failures = 0;
    /** Whether the viewer holds the picture: then its connection may be silent. */
    this.held = false;
  }

  /** What is to be done, oldest first. @returns {Action[]} */
  take() {
    return this.actions.splice(0);
  }

  /** @param {number} now */
  start(now) {
    if (this.running) return;
    this.running = true;
    this.failures = 0;
    this.vain = false;
    this.beginSearch();
    this.advance(now);
  }

  /** Closes everything; the last picture stays until the next start or the end. */
  stop() {
    this.running = false;
    this.resting = null;
    this.dropNext();
    if (this.current) this.halt(this.current);
    this.lost = null;
    this.say('idle');
  }

  /**
   * There is a new list.
   * @param {Host[]} list
   * @param {number} now
   */
  setHosts(list, now) {
    this.hosts.set(list);
    if (!this.running || this.next !== null || list.length === 0) return;
    // FLV brings a notice of its own; over HLS the list is what tells.
    const { current } = this;
    const leaves = (/** @type {Host} */ h) => h.state === 'draining' && h.url === current?.host.url;
    if (current && !current.dead && this.lost === null && list.some(leaves) && list.some((h) => h.state === 'ready')) {
      this.move(current.id, null, now);
      return;
    }
    // Nobody was to be had: perhaps somebody is now.
    if (this.state === 'nohosts') this.advance(now);
  }

  /**
   * The browser says that there is a network again.
   * @param {number} now
   */
  online(now) {
    if (!this.running || this.resting === null) return;
    this.beginSearch();
    this.advance(now);
  }

  /**
   * The viewer holds the picture, or lets it go.
   * @param {boolean} held
   * @param {number} now
   */
  hold(held, now) {
    if (this.held && !held && this.current) this.current.sign = now;
    this.held = held;
  }

  /** Tries at once, because somebody asked for it. @param {number} now */
  retry(now) {
    this.failures = 0;
    this.online(now);
  }

  /**
   * The server has answered.
   * @param {number} id
   * @param {number} now
   */
  opened(id, now) {
    const link = this.link(id);
    if (!link) return;
    link.opened ??= now;
    link.sign = now;
  }

  /**
   * How long this connection may be silent: segments come in bursts.
   * @param {number} id
   * @param {number} pace ms
   */
  pace(id, pace) {
    const link = this.link(id);
    if (link) link.pace = Math.max(pace, this.options.stallTimeout);
  }

  /**
   * Media came.
   * @param {number} id
   * @param {number} now
   */
  progress(id, now) {
    const link = this.link(id);
    if (!link || link.dead) return;
    link.opened ??= now;
    link.sign = now;
    link.waiting = false;
    if (link === this.current && this.lost === null) this.say('playing');
  }

  /**
   * The first picture is there.
   * @param {number} id
   * @param {number} now
   */
  frame(id, now) {
    const link = this.link(id);
    if (!link || link.dead || link.framed !== null) return;
    this.opened(id, now);
    link.framed = now;
    if (link !== this.next) return;
    const before = this.current;
    this.next = null;
    this.current = link;
    this.actions.push({ do: 'show', id });
    if (before) {
      this.actions.push({ do: 'close', id: before.id });
      const lost = this.lost ?? { at: now, why: 'moved' };
      this.emit('switch', before.host.url, link.host.url, lost.why, now - lost.at);
    }
    this.lost = null;
    this.failures = 0;
    this.vain = false;
    this.hosts.forgive(link.host);
    this.beginSearch();
    this.say('playing');
  }

  /**
   * The mirror says that the stream waits for its source: it is right to stay.
   * @param {number} id
   * @param {number} now
   */
  waiting(id, now) {
    const link = this.link(id);
    if (!link || link.dead) return;
    link.opened ??= now;
    link.sign = now;
    link.waiting = true;
    // One that has no picture yet is as good as any other: they all wait.
    if (link === this.next && (this.current === null || this.current.dead)) this.failures = 0;
    if (link === this.current || this.current === null || this.current.dead) this.say('waiting');
  }

  /**
   * The mirror leaves, and asks its viewers to go to another one.
   * @param {number} id
   * @param {string | null} redirect Its proposal.
   * @param {number} now
   */
  move(id, redirect, now) {
    const link = this.link(id);
    if (!link || link.dead) return;
    link.sign = now;
    this.hosts.fail(link.host, now);
    if (redirect) this.hosts.invite(redirect);
    if (link === this.next) {
      this.failed(id, { why: 'busy' }, now);
    } else if (this.next === null) {
      this.lost ??= { at: now, why: 'drain' };
      this.actions.push({ do: 'refresh' });
      this.beginSearch();
      this.advance(now);
    }
  }

  /**
   * A connection is of no use any more.
   * @param {number} id
   * @param {Failure} failure
   * @param {number} now
   */
  failed(id, failure, now) {
    const link = this.link(id);
    if (!link || link.dead) return;
    const { why } = failure;
    if (why === 'unsupported' && !this.otherProtocol()) return this.giveUp(failure);
    if (why === 'busy') {
      this.hosts.fail(link.host, now, failure.retryAfter ?? 2000);
      if (failure.sibling) this.hosts.invite(failure.sibling);
    } else if (why !== 'missing' && why !== 'unsupported') {
      this.hosts.fail(link.host, now);
    }
    if (link === this.next) {
      this.next = null;
      this.actions.push({ do: 'close', id });
      this.emit('connectFailed', link.host.url, this.hosts.index(link.host), why, failure.detail ?? '');
      if (why === 'missing') this.seen.missing += 1;
      else this.seen.failed += 1;
      if (why === 'busy' || why === 'http') this.seen[why] += 1;
      if (link.opened !== null && (why === 'stalled' || why === 'broken')) this.seen.mute += 1;
      if (why === 'unsupported') this.tried.delete(link.host.url);
      this.advance(now);
      return;
    }
    this.halt(link);
    this.lost ??= { at: Math.min(now, Math.max(link.sign, link.framed ?? 0)), why };
    this.actions.push({ do: 'refresh' });
    // A search that is under way already goes on.
    if (this.next === null) {
      this.beginSearch();
      this.advance(now);
    }
  }

  /** When `timeout` is to be called; null when never. @returns {number | null} */
  nextTimeout() {
    let at = Infinity;
    if (this.resting !== null) at = this.resting;
    for (const link of [this.current, this.next]) {
      if (!link || link.dead) continue;
      at = Math.min(at, this.deadline(link));
    }
    return this.running && at < Infinity ? at : null;
  }

  /** @param {number} now */
  timeout(now) {
    if (!this.running) return;
    for (const link of [this.current, this.next]) {
      if (!link || link.dead) continue;
      if (now >= this.deadline(link)) {
        const why = link.opened === null ? 'timeout' : 'stalled';
        this.failed(link.id, { why }, now);
      }
    }
    if (this.resting !== null && now >= this.resting) {
      this.resting = null;
      if (this.next === null) this.advance(now);
    }
  }

  /**
   * @param {Link} link
   * @returns {number}
   */
  deadline(link) {
    if (link.opened === null) return link.since + this.options.connectTimeout;
    if (this.held && link === this.current) return Infinity;
    const silent = link.sign + link.pace;
    // Bytes that never become a picture are no progress.
    return link.framed === null && !link.waiting ? Math.min(silent, link.opened + 3 * link.pace) : silent;
  }

  /** Tries the next mirror, or rests when there is none. @param {number} now */
  advance(now) {
    this.resting = null;
    if (!this.running || this.next !== null) return;
    const staying = this.current !== null && !this.current.dead;
    const except = staying ? (this.current?.host.url ?? null) : null;
    const host = this.hosts.next(this.tried, now, except, this.vain);
    if (host === null) return this.passOver(now, staying);
    this.tried.add(host.url);
    const protocol = this.options.protocols[this.protocol];
    if (protocol === undefined) return this.giveUp({ why: 'unsupported' });
    this.ids += 1;
    this.next = {
      id: this.ids,
      host,
      protocol,
      since: now,
      opened: null,
      framed: null,
      sign: now,
      waiting: false,
      dead: false,
      pace: this.options.stallTimeout,
    };
    if (!staying && !VAIN.has(this.state)) {
      this.say(this.current ? 'switching' : 'connecting');
    }
    this.emit('connect', host.url, this.hosts.index(host));
    this.actions.push({ do: 'open', id: this.ids, host, protocol });
  }

  /**
   * Everybody was tried.
   * @param {number} now
   * @param {boolean} staying A picture still moves.
   */
  passOver(now, staying) {
    const { missing, failed, busy, http, mute } = this.seen;
    const nobody = this.tried.size === 0;
    const nowhere = missing > 0 && failed === 0;
    if (mute > 0 && mute === failed) this.otherProtocol();
    const pass = this.pass + 1;
    this.beginSearch();
    this.vain = true;
    this.actions.push({ do: 'refresh' });
    if (staying) {
      this.resting = now + DRAIN_REST;
    } else if (nowhere) {
      // That is no failure of theirs: it has not begun, or it is over.
      this.say('offline');
      this.resting = now + OFFLINE_REST * (1 + this.random());
    } else if (pass < this.options.connectCount && !nobody) {
      this.pass = pass;
      this.resting = now + 250 * 2 ** pass * this.random();
    } else {
      if (this.failures === 0) this.emit('failed');
      this.failures += 1;
      // Who answers tells more than who does not.
      if (nobody) this.say('nohosts');
      else if (missing > 0) this.say('offline');
      else this.say(busy > 0 ? 'full' : http > 0 ? 'unready' : 'failed');
      const longest = Math.min(LONGEST_REST, 1000 * 2 ** Math.min(this.failures, 10));
      this.resting = now + longest * (0.5 + 0.5 * this.random());
    }
  }

  /** A new search: nobody was tried. */
  beginSearch() {
    this.tried = new Set();
    this.seen = nothingSeen();
    this.pass = 0;
  }

  /** Goes to the next way of playing; false when there is none. */
  otherProtocol() {
    if (this.protocol + 1 >= this.options.protocols.length) return false;
    this.protocol += 1;
    return true;
  }

  /** @param {Failure} failure */
  giveUp(failure) {
    this.running = false;
    this.dropNext();
    this.say('unsupported', failure.detail);
    this.emit('failed', failure.detail ?? '');
  }

  dropNext() {
    if (this.next) this.actions.push({ do: 'close', id: this.next.id });
    this.next = null;
  }

  /** @param {Link} link */
  halt(link) {
    if (link.dead) return;
    link.dead = true;
    this.actions.push({ do: 'halt', id: link.id });
  }

  /**
   * @param {number} id
   * @returns {Link | null}
   */
  link(id) {
    if (this.current?.id === id) return this.current;
    if (this.next?.id === id) return this.next;
    return null;
  }

  /**
   * @param {State} state
   * @param {string} [detail]
   */
  say(state, detail = '') {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state, detail);
  }

  /**
   * @param {string} event
   * @param {any[]} args
   */
  emit(event, ...args) {
    this.actions.push({ do: 'emit', event, args });
  }
}
