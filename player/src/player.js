/**
 * The player without its looks: two video elements in turn, engines that fill them, and the machine
 * that says which mirror is next.
 * @module
 */

import * as edge from './edge.js';
import { Machine } from './machine.js';
import { check } from './options.js';
import { Source } from './source.js';
import { sentence } from './words.js';

/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./machine.js').Protocol} Protocol */

/**
 * @typedef {object} Engine
 * @property {() => number | null} bytes Received so far.
 * @property {() => number | null} delay Behind the live edge, s, where the engine knows better.
 * @property {boolean} live Whether this module keeps it at the live edge; else the engine does.
 * @property {() => void} halt Ends the connection; the picture stays.
 * @property {() => void} destroy
 */

/**
 * @typedef {object} EngineEvents
 * @property {() => void} opened
 * @property {() => void} progress
 * @property {(ms: number) => void} pace
 * @property {(failure: import('./machine.js').Failure) => void} failed
 * @property {(status: {code: string, redirect?: unknown}) => void} notice
 * @property {(info: Media) => void} info
 * @property {() => Promise<import('./machine.js').Failure | null>} verdict Asks how the stream is; fails
 *   when there is no answer.
 */

/** @typedef {{video?: string | undefined, audio?: string | undefined, width?: number | undefined, height?: number | undefined}} Media */

/**
 * Figures of what plays now.
 * @typedef {object} Stats
 * @property {string} host
 * @property {string} [id] The mirror's id.
 * @property {Protocol} protocol
 * @property {number | null} delay How far the picture is behind what has come, s.
 * @property {number} decoded Pictures since this connection began.
 * @property {number} dropped Pictures that came too late to be shown.
 * @property {number | null} kbits Received in the last second, kbit/s.
 * @property {Media} media
 * @property {number} switches How often another mirror took over.
 * @property {number} mirrors How many are known.
 * @property {string} trouble What is wrong with the list of mirrors; empty when nothing is.
 */

/**
 * @typedef {object} EngineModule
 * @property {() => boolean} supported
 * @property {(video: HTMLVideoElement, base: string, stream: string, on: EngineEvents, patience: number) => Engine} open
 */

/** Loaded when they are needed. @type {Record<Protocol, () => Promise<EngineModule>>} */
const ENGINES = {
  flv: () => import('./engine-flv.js'),
  hls: () => import('./engine-hls.js'),
  native: () => import('./engine-native.js'),
};

/** A pause longer than this ends the connection, ms. */
const PAUSE = 20_000;
/** How much rarer the list is asked for while all is well: a thousand players ask the same server. */
const CALM = 3;
/** How often a mirror is asked over HLS whether its viewers should leave, ms. */
const ASK = 8000;
/** Where the mirrors that failed are kept, for as long as the tab is open. */
const FAILED = 'crtmpserver-player:failed';

/** @typedef {{engine: Engine | null, video: HTMLVideoElement, media: Media, closed: boolean, protocol: Protocol}} Seat */

/** See the module. */
export class Player {
  /**
   * @param {HTMLElement} box Where the picture goes; it is filled with two video elements.
   * @param {Options} options
   */
  constructor(box, options) {
    this.options = options;
    this.checked = check(options, document.baseURI);
    /** @type {HTMLVideoElement[]} */
    this.videos = [newVideo(), newVideo()];
    for (const video of this.videos) video.muted = this.checked.muted;
    this.box = box;
    box.append(...this.videos);
    /** @type {Map<number, Seat>} */
    this.seats = new Map();
    this.source = new Source({
      lists: this.checked.lists,
      hosts: this.checked.fixed,
      secure: location.protocol === 'https:',
      storage: storage('localStorage'),
    });
    this.session = storage('sessionStorage');
    /** @type {Machine | null} */
    this.machine = null;
    this.paused = !this.checked.autoplay;
    this.blocked = false;
    /** What the viewer, or the browser, wants; until then it is the option. @type {boolean | null} */
    this.muted = null;
    this.switches = 0;
    /** Where the picture was a second ago. */
    this.stood = -1;
    /** When a mirror is asked of the stream next, though all is well. */
    this.askAt = 0;
    this.lastBytes = { id: -1, bytes: 0, at: 0 };
    this.refreshed = -Infinity;
    this.refreshing = false;
    this.state = 'idle';
    this.listeners = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.pauseTimer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.keeping = undefined;
    this.ticker = setInterval(() => this.tick(), 250);
    this.seconds = setInterval(() => this.second(), 1000);
    const { signal } = this.listeners;
    addEventListener('online', () => this.run((m) => m.online(now())), { signal });
    addEventListener('offline', () => this.tell(this.state), { signal });
    document.addEventListener('visibilitychange', () => this.tick(), { signal });
    void this.begin();
  }

  /** The video element whose picture is shown. */
  get video() {
    const id = this.machine?.current?.id;
    const seat = id === undefined ? undefined : this.seats.get(id);
    return seat?.video ?? /** @type {HTMLVideoElement} */ (this.videos[0]);
  }

  async begin() {
    /** @type {Protocol[]} */
    const protocols = [];
    const mse = 'MediaSource' in globalThis || 'ManagedMediaSource' in globalThis;
    for (const protocol of this.checked.protocols) {
      // Without Media Source Extensions their engines need not be loaded to know.
      if (protocol !== 'native' && !mse) continue;
      if (protocol !== 'native' || (await ENGINES.native()).supported()) protocols.push(protocol);
    }
    if (this.listeners.signal.aborted) return;
    if (protocols.length === 0) {
      this.tell('nomse');
      this.options.onFailed?.('no Media Source Extensions');
      return;
    }
    this.machine = new Machine({ ...this.checked, protocols });
    this.machine.hosts.remember(this.session?.getItem(FAILED) ?? null, now());
    await this.refresh();
    if (this.listeners.signal.aborted) return;
    if (!this.paused) this.run((m) => m.start(now()));
  }

  /** Asks the lists for who is there now. */
  async refresh() {
    if (this.refreshing) return;
    this.refreshing = true;
    const known = this.machine?.hosts.list ?? [];
    // When no list answers, any mirror may.
    const more = this.source.good ? known.slice(0, 3).map((h) => `${h.url}/cluster.json`) : [];
    await this.source.refresh(now(), more);
    if (this.source.trouble) this.source.remember(now());
    this.refreshing = false;
    this.refreshed = now();
    if (this.listeners.signal.aborted) return;
    this.run((m) => m.setHosts(this.source.hosts(), now()));
  }

  /**
   * Does something with the machine, then what it wants done.
   * @param {(machine: Machine) => void} step
   */
  run(step) {
    const { machine } = this;
    if (!machine || this.listeners.signal.aborted) return;
    step(machine);
    for (const action of machine.take()) this.act(action);
    if (machine.hosts.changed) this.keep(machine);
    clearTimeout(this.timer);
    const at = machine.nextTimeout();
    if (at !== null) this.timer = setTimeout(() => this.run((m) => m.timeout(now())), Math.max(0, at - now()));
  }

  /**
   * Keeps the mirrors that failed: who loads the page again goes past them. A moment later: a page that is
   * left loses its connections, too, and no mirror is to blame for that.
   * @param {Machine} machine
   */
  keep(machine) {
    machine.hosts.changed = false;
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => {
      try {
        this.session?.setItem(FAILED, machine.hosts.kept(now()));
      } catch {
        // No room, or forbidden: then they are not kept.
      }
    }, 1000);
  }

  /** @param {import('./machine.js').Action} action */
  act(action) {
    switch (action.do) {
      case 'open':
        void this.open(action.id, action.host.url, action.protocol);
        break;
      case 'halt':
        this.seats.get(action.id)?.engine?.halt();
        break;
      case 'close':
        this.close(action.id);
        break;
      case 'show':
        this.show(action.id);
        break;
      case 'refresh':
        if (this.checked.lists.length > 0) void this.refresh();
        break;
      case 'emit':
        this.emit(action.event, action.args);
        break;
    }
  }

  /**
   * @param {number} id
   * @param {string} host
   * @param {Protocol} protocol
   */
  async open(id, host, protocol) {
    const taken = [...this.seats.values()].map((s) => s.video);
    const video = this.videos.find((v) => !taken.includes(v));
    if (!video) throw new Error('both video elements are in use');
    /** @type {Seat} */
    const seat = { engine: null, video, media: {}, closed: false, protocol };
    this.seats.set(id, seat);
    let module;
    try {
      module = await ENGINES[protocol]();
    } catch (error) {
      this.run((m) => m.failed(id, { why: 'unsupported', detail: `its program does not load: ${error}` }, now()));
      return;
    }
    if (seat.closed) return;
    if (!module.supported()) {
      this.run((m) => m.failed(id, { why: 'unsupported', detail: `no ${protocol}` }, now()));
      return;
    }
    video.addEventListener('loadeddata', () => {
      if (seat.closed || !seat.engine) return;
      if (seat.engine.live) {
        const at = edge.begin(video.currentTime, ranges(video.buffered));
        if (at !== null) video.currentTime = at;
      }
      this.run((m) => m.frame(id, now()));
    }, { once: true, signal: this.listeners.signal });
    seat.engine = module.open(video, host, this.checked.stream, {
      opened: () => this.run((m) => m.opened(id, now())),
      progress: () => this.run((m) => m.progress(id, now())),
      pace: (ms) => this.run((m) => m.pace(id, ms)),
      failed: (failure) => this.run((m) => m.failed(id, failure, now())),
      notice: (status) => this.notice(id, status),
      info: (media) => {
        seat.media = { ...seat.media, ...media };
      },
      verdict: () => this.verdict(host),
    }, this.checked.connectTimeout);
    if (!this.paused) void this.play(video);
  }

  /**
   * @param {number} id
   * @param {{code: string, redirect?: unknown}} status
   */
  notice(id, status) {
    if (status.code === 'NetStream.Play.Waiting') this.run((m) => m.waiting(id, now()));
    if (status.code !== 'NetStream.Play.Move') return;
    const to = typeof status.redirect === 'string' && /^https?:\/\//.test(status.redirect) ? status.redirect : null;
    this.run((m) => m.move(id, to?.replace(/\/+$/, '') ?? null, now()));
  }

  /**
   * FLV says by itself that its stream waits for its source, or that its mirror is about to go. Over HLS the
   * mirror is asked: at once where the picture stands still, else now and then.
   */
  async ask() {
    const link = this.machine?.current;
    const time = this.video.currentTime;
    const stands = time === this.stood;
    this.stood = time;
    if (!link || link.dead || link.protocol === 'flv' || this.paused) return;
    if (!stands && now() < this.askAt) return;
    this.askAt = now() + ASK * (0.75 + 0.5 * Math.random());
    const said = await this.streamState(link.host.url).catch(() => null);
    if (said?.state === 'waiting' && stands) this.run((m) => m.waiting(link.id, now()));
    if (said?.draining) this.run((m) => m.move(link.id, null, now()));
  }

  /**
   * What the mirror says of the stream: live, waiting, offline, unknown; null when it says nothing of the kind.
   * Fails when there is no answer.
   * @param {string} host
   * @returns {Promise<{state: string, draining: boolean} | null>}
   */
  async streamState(host) {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), this.checked.connectTimeout);
    try {
      const answer = await fetch(`${host}/${this.checked.stream}.json`, { signal: patience.signal, cache: 'no-store' });
      const body = await answer.json().catch(() => null);
      return typeof body?.state === 'string' ? { state: body.state, draining: body.draining === true } : null;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Whether the mirror is there and has the stream; fails when there is no answer.
   * @param {string} host
   * @returns {Promise<import('./machine.js').Failure | null>}
   */
  async verdict(host) {
    const state = (await this.streamState(host))?.state;
    if (state === 'unknown') return { why: 'http', detail: 'it has no connection to its master' };
    return state === 'offline' ? { why: 'missing' } : null;
  }

  /** @param {number} id */
  close(id) {
    const seat = this.seats.get(id);
    if (!seat) return;
    seat.closed = true;
    this.seats.delete(id);
    seat.engine?.destroy();
    seat.video.classList.remove('shown');
  }

  /** @param {number} id */
  show(id) {
    const seat = this.seats.get(id);
    if (!seat) return;
    for (const video of this.videos) video.classList.toggle('shown', video === seat.video);
    for (const [other, { video }] of this.seats) {
      if (other !== id) video.muted = true;
    }
    this.lastBytes = { id, bytes: seat.engine?.bytes() ?? 0, at: now() };
    if (!this.paused) void this.play(seat.video);
    this.box.dispatchEvent(new Event('swap'));
  }

  /**
   * Plays; without sound when the browser allows nothing else.
   * @param {HTMLVideoElement} video
   * @returns {Promise<void>}
   */
  async play(video) {
    // The one that is not shown yet is silent until it is.
    const shown = video === this.video && this.machine?.current;
    video.muted = shown ? this.wantsMuted : true;
    try {
      await video.play();
      this.block(false);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      if (!video.muted) {
        this.wantsMuted = true;
        this.box.dispatchEvent(new Event('volume'));
        return this.play(video);
      }
      this.block(true);
    }
  }

  /** @param {boolean} blocked */
  block(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.tell(this.state);
  }

  /** Whether the viewer, or the browser, wants no sound. */
  get wantsMuted() {
    return this.muted ?? this.checked.muted;
  }

  set wantsMuted(muted) {
    this.muted = muted;
    this.video.muted = muted;
    this.box.dispatchEvent(new Event('volume'));
  }

  /** From 0 to 1. */
  get volume() {
    return this.video.volume;
  }

  set volume(volume) {
    for (const video of this.videos) video.volume = volume;
    this.box.dispatchEvent(new Event('volume'));
  }

  /** Plays, at the live edge. Call it from a click: browsers allow sound only then. */
  resume() {
    this.paused = false;
    clearTimeout(this.pauseTimer);
    this.run((m) => m.hold(false, now()));
    const { machine } = this;
    if (machine && !machine.running && machine.state !== 'unsupported') this.run((m) => m.start(now()));
    const at = edge.begin(this.video.currentTime, ranges(this.video.buffered));
    if (at !== null && this.engine()?.live) this.video.currentTime = at;
    void this.play(this.video);
    this.box.dispatchEvent(new Event('paused'));
  }

  /** Holds the picture; after a while the connection ends. */
  pause() {
    this.paused = true;
    this.run((m) => m.hold(true, now()));
    for (const video of this.videos) video.pause();
    clearTimeout(this.pauseTimer);
    this.pauseTimer = setTimeout(() => this.run((m) => m.stop()), PAUSE);
    this.box.dispatchEvent(new Event('paused'));
  }

  /** Tries again at once, after `onFailed`. */
  retry() {
    void this.refresh();
    this.run((m) => m.retry(now()));
  }

  /** Takes everything away. */
  destroy() {
    this.listeners.abort();
    clearTimeout(this.timer);
    clearTimeout(this.pauseTimer);
    clearTimeout(this.keeping);
    clearInterval(this.ticker);
    clearInterval(this.seconds);
    for (const id of [...this.seats.keys()]) this.close(id);
    for (const video of this.videos) video.remove();
  }

  engine() {
    const id = this.machine?.current?.id;
    return id === undefined ? null : (this.seats.get(id)?.engine ?? null);
  }

  /** Keeps the picture at the live edge. */
  tick() {
    const { video } = this;
    const engine = this.engine();
    if (!engine?.live || this.paused || video.seeking) return;
    const step = edge.steer({
      time: video.currentTime,
      buffered: ranges(video.buffered),
      rate: video.playbackRate,
      ready: video.readyState > 2,
    });
    if (step && 'seek' in step) video.currentTime = step.seek;
    if (step && 'rate' in step) video.playbackRate = step.rate;
    // A hidden page's silent picture may have been held by the browser.
    if (video.paused && !document.hidden && !this.blocked) void this.play(video);
  }

  /** Figures, and the list again when it is time. */
  second() {
    void this.ask();
    const stats = this.stats();
    if (stats) this.options.onStats?.(stats);
    const calm = this.machine?.state === 'playing' ? CALM : 1;
    const due = this.refreshed + this.source.ttl * calm * (0.9 + 0.2 * Math.random());
    if (this.checked.lists.length > 0 && now() > due && !document.hidden) void this.refresh();
  }

  /** The figures now; null while nothing plays. @returns {Stats | null} */
  stats() {
    const link = this.machine?.current;
    const seat = link && this.seats.get(link.id);
    if (!link || !seat) return null;
    const quality = seat.video.getVideoPlaybackQuality?.();
    const bytes = seat.engine?.bytes() ?? null;
    let kbits = null;
    if (bytes !== null && this.lastBytes.id === link.id && now() > this.lastBytes.at) {
      kbits = (Math.max(0, bytes - this.lastBytes.bytes) * 8) / (now() - this.lastBytes.at);
    }
    this.lastBytes = { id: link.id, bytes: bytes ?? 0, at: now() };
    const buffered = ranges(seat.video.buffered);
    const end = buffered[buffered.length - 1]?.[1];
    /** @type {Stats} */
    const stats = {
      host: link.host.url,
      protocol: link.protocol,
      delay: seat.engine?.delay() ?? (end === undefined ? null : Math.max(0, end - seat.video.currentTime)),
      decoded: quality?.totalVideoFrames ?? 0,
      dropped: quality?.droppedVideoFrames ?? 0,
      kbits,
      media: {
        ...seat.media,
        width: seat.video.videoWidth || seat.media.width,
        height: seat.video.videoHeight || seat.media.height,
      },
      switches: this.switches,
      mirrors: this.machine?.hosts.all().length ?? 0,
      trouble: this.source.trouble,
    };
    if (link.host.id !== undefined) stats.id = link.host.id;
    return stats;
  }

  /**
   * @param {string} event
   * @param {any[]} args
   */
  emit(event, args) {
    const { onConnect, onConnectFailed, onFailed, onSwitch } = this.options;
    const [a, b, c, d] = args;
    switch (event) {
      case 'connect':
        onConnect?.(a, b);
        break;
      case 'connectFailed':
        onConnectFailed?.(a, b, c, d);
        break;
      case 'failed':
        onFailed?.(a);
        break;
      case 'switch':
        this.switches += 1;
        onSwitch?.(a, b, c, d);
        break;
      case 'state':
        this.tell(a, b);
        break;
    }
  }

  /**
   * @param {string} state
   * @param {string} [detail]
   */
  tell(state, detail = '') {
    this.state = state;
    const shown = this.blocked && (state === 'playing' || state === 'connecting') ? 'blocked' : state;
    const words = sentence(shown, { online: navigator.onLine, trouble: this.source.trouble });
    this.options.onState?.(shown, detail ? `${words} (${detail})` : words);
  }
}

/** Milliseconds since 1970 that never jump: the clock of a device may be set while somebody watches. */
function now() {
  return performance.timeOrigin + performance.now();
}

function newVideo() {
  const video = document.createElement('video');
  video.playsInline = true;
  video.disableRemotePlayback = true; // ManagedMediaSource wants it
  video.preload = 'auto';
  return video;
}

/**
 * @param {TimeRanges} buffered
 * @returns {[number, number][]}
 */
function ranges(buffered) {
  return Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
}

/** @param {'localStorage' | 'sessionStorage'} which */
function storage(which) {
  try {
    return globalThis[which];
  } catch {
    return null; // a page in a frame without rights
  }
}
