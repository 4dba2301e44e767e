/**
 * HLS by the browser itself, for those that have no Media Source Extensions.
 * @module
 */

/** @typedef {import('./player.js').Engine} Engine */
/** @typedef {import('./player.js').EngineEvents} EngineEvents */

/** Three segments of a usual length, ms. */
const PACE = 12_000;
const TYPE = 'application/vnd.apple.mpegurl';

/** Whether this browser can. */
export function supported() {
  return document.createElement('video').canPlayType(TYPE) !== '';
}

/**
 * @param {HTMLVideoElement} video
 * @param {string} base
 * @param {string} stream
 * @param {EngineEvents} on
 * @returns {Engine}
 */
export function open(video, base, stream, on) {
  const listeners = new AbortController();
  let over = false;
  let last = 0;
  const { signal } = listeners;
  /** @param {import('./machine.js').Failure} failure */
  const fail = (failure) => {
    if (over) return;
    over = true;
    on.failed(failure);
  };
  // The browser tells neither that a server is there nor how long its segments are.
  on.verdict().then(
    (verdict) => {
      if (verdict) return fail(verdict);
      on.pace(PACE);
      on.opened();
    },
    () => {}, // the browser will tell, or the time runs out
  );
  video.addEventListener('loadedmetadata', () => {
    on.pace(PACE);
    on.opened();
  }, { signal });
  video.addEventListener('timeupdate', () => {
    if (video.currentTime !== last) on.progress();
    last = video.currentTime;
  }, { signal });
  video.addEventListener('progress', () => on.progress(), { signal });
  video.addEventListener('ended', () => fail({ why: 'ended' }), { signal });
  video.addEventListener('error', () => {
    const detail = video.error?.message ?? '';
    // The browser does not tell an answer of 404 from no answer: the state of the stream is asked.
    on.verdict().then((verdict) => fail(verdict ?? { why: 'broken', detail }), () => fail({ why: 'refused', detail }));
  }, { signal });
  video.src = `${base}/${stream}.m3u8`;
  video.load();

  return {
    bytes: () => null,
    delay: () => null,
    live: false,
    halt() {
      over = true;
      listeners.abort();
    },
    destroy() {
      over = true;
      listeners.abort();
      video.removeAttribute('src');
      video.load();
    },
  };
}
