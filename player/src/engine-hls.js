/**
 * HLS by hls.js, and by the browser itself where it can.
 * @module
 */

import Hls from 'hls.js/light';

/** @typedef {import('./player.js').Engine} Engine */
/** @typedef {import('./player.js').EngineEvents} EngineEvents */

/** The longest that a playlist waits for the first segment of a stream, ms. */
const FIRST = 12_000;

/** Whether this browser can. */
export function supported() {
  return Hls.isSupported();
}

/**
 * @param {HTMLVideoElement} video
 * @param {string} base
 * @param {string} stream
 * @param {EngineEvents} on
 * @param {number} patience How long a mirror may take to answer, ms.
 * @returns {Engine}
 */
export function open(video, base, stream, on, patience) {
  let over = false;
  let bytes = 0;
  /** @param {import('./machine.js').Failure} failure */
  const fail = (failure) => {
    if (over) return;
    over = true;
    hls.stopLoad();
    on.failed(failure);
  };
  // Another mirror is better than another try: every error is told at once. What a playlist names is in the
  // mirror's memory, so that one that is there answers at once.
  const once = { maxTimeToFirstByteMs: patience, maxLoadTimeMs: 20_000, timeoutRetry: null, errorRetry: null };
  const hls = new Hls({
    enableWorker: false, // fragments are fMP4 already: there is nothing to convert
    liveSyncDurationCount: 2,
    liveMaxLatencyDurationCount: 5,
    maxLiveSyncPlaybackRate: 1.1,
    backBufferLength: 20,
    maxBufferLength: 20,
    manifestLoadPolicy: { default: { ...once, maxTimeToFirstByteMs: FIRST } },
    playlistLoadPolicy: { default: once },
    fragLoadPolicy: { default: once },
  });
  hls.on(Hls.Events.MANIFEST_LOADED, () => on.opened());
  hls.on(Hls.Events.LEVEL_LOADED, (_, data) => {
    // Media comes in bursts of a segment each; a playlist that grows is a sign of life, too.
    on.pace(data.details.targetduration * 3000);
    if (data.details.updated) on.progress();
  });
  hls.on(Hls.Events.FRAG_LOADED, (_, data) => {
    bytes += data.frag.stats.loaded;
    on.progress();
  });
  hls.on(Hls.Events.MANIFEST_PARSED, (_, data) => {
    const level = data.levels[0];
    if (level) on.info({ video: level.videoCodec, audio: level.audioCodec, width: level.width, height: level.height });
  });
  hls.on(Hls.Events.ERROR, (_, data) => {
    // What it would try again here is had from another mirror sooner.
    if (!data.fatal && data.type !== Hls.ErrorTypes.NETWORK_ERROR) return;
    const detail = `${data.details}: ${data.reason ?? data.error?.message ?? ''}`;
    const status = data.response?.code ?? 0;
    const never = [
      Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR,
      Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR,
      Hls.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR,
    ];
    if (never.includes(data.details)) return fail({ why: 'unsupported', detail });
    if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) return fail({ why: 'broken', detail });
    if (status === 404) return fail({ why: 'missing', detail: 'HTTP 404' });
    if (status > 0) return fail({ why: status === 503 ? 'busy' : 'http', detail: `HTTP ${status}` });
    fail({ why: /Timeout/i.test(data.details) ? 'timeout' : 'refused', detail });
  });
  // A playlist waits for its first segment, which may take longer than a mirror may take to answer: so
  // that it is there is heard from the state of the stream.
  on.verdict().then(
    (verdict) => {
      if (verdict) return fail(verdict);
      on.pace(FIRST);
      on.opened();
    },
    () => {}, // hls.js will tell, or the time runs out
  );
  hls.attachMedia(video);
  hls.loadSource(`${base}/${stream}.m3u8`);

  return {
    bytes: () => bytes,
    delay: () => (hls.latency > 0 ? hls.latency : null),
    live: false,
    halt() {
      over = true;
      hls.stopLoad();
    },
    destroy() {
      over = true;
      hls.destroy();
    },
  };
}
