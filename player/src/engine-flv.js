/**
 * HTTP-FLV by mpegts.js. The request is our own: so a refused port, an error with its reason, the end
 * and the mirror's notices are seen as they are.
 * @module
 */

import mpegts from 'mpegts.js';

import { refusal } from './refusal.js';

/** @typedef {import('./player.js').Engine} Engine */
/** @typedef {import('./player.js').EngineEvents} EngineEvents */

mpegts.LoggingControl.enableAll = false;

/** Whether this browser can. */
export function supported() {
  return mpegts.getFeatureList().mseLivePlayback;
}

/**
 * @param {HTMLVideoElement} video
 * @param {string} base
 * @param {string} stream
 * @param {EngineEvents} on
 * @returns {Engine}
 */
export function open(video, base, stream, on) {
  const request = new AbortController();
  let over = false;
  let bytes = 0;
  /** @param {import('./machine.js').Failure} failure */
  const fail = (failure) => {
    if (over) return;
    over = true;
    request.abort();
    on.failed(failure);
  };

  /** What mpegts.js asks for bytes. It is told of bytes alone; how they end is told to `on`. */
  class Loader extends mpegts.BaseLoader {
    constructor() {
      super('crtmpserver-flv');
      this._needStash = false;
    }

    /** @param {{url: string}} source */
    open(source) {
      this._status = mpegts.LoaderStatus.kConnecting;
      void this.load(source.url);
    }

    /** @param {string} url */
    async load(url) {
      let answer;
      try {
        answer = await fetch(url, { signal: request.signal, cache: 'no-store', referrerPolicy: 'no-referrer' });
      } catch (error) {
        return fail({ why: 'refused', detail: String(error) });
      }
      if (!answer.ok || !answer.body) return fail(await refusal(answer));
      on.opened();
      this._status = mpegts.LoaderStatus.kBuffering;
      const reader = answer.body.getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return fail({ why: 'ended' });
          const from = bytes;
          bytes += value.byteLength;
          // Whole, not a view into something larger: the demuxer keeps the buffer.
          const chunk =
            value.byteLength === value.buffer.byteLength
              ? /** @type {ArrayBuffer} */ (value.buffer)
              : /** @type {ArrayBuffer} */ (value.slice().buffer);
          noticed = false;
          this.onDataArrival(chunk, from, bytes);
          // A notice alone is no media.
          if (!noticed) on.progress();
        }
      } catch (error) {
        fail({ why: 'ended', detail: String(error) });
      }
    }

    abort() {
      request.abort();
    }

    destroy() {
      request.abort();
      super.destroy();
    }
  }

  let noticed = false;
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: true, url: `${base}/${stream}.flv` },
    {
      customLoader: /** @type {any} */ (Loader),
      enableStashBuffer: false,
      lazyLoad: false,
      deferLoadAfterSourceOpen: false,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 60,
      autoCleanupMinBackwardDuration: 20,
    },
  );
  player.on(mpegts.Events.ERROR, (kind, what, info) => {
    const detail = `${what}: ${info?.msg ?? ''}`;
    if (kind === mpegts.ErrorTypes.NETWORK_ERROR) return;
    const never = what === mpegts.ErrorDetails.MEDIA_CODEC_UNSUPPORTED || info?.code === DOMException.NOT_SUPPORTED_ERR;
    // Whoever hears it may destroy the player, which is in the middle of its work here.
    queueMicrotask(() => fail({ why: never ? 'unsupported' : 'broken', detail }));
  });
  player.on(mpegts.Events.SCRIPTDATA_ARRIVED, (data) => {
    const status = data?.onStatus;
    if (typeof status?.code !== 'string') return;
    noticed = true;
    queueMicrotask(() => {
      if (!over) on.notice(status);
    });
  });
  player.on(mpegts.Events.MEDIA_INFO, (info) => {
    on.info({ video: info.videoCodec, audio: info.audioCodec, width: info.width, height: info.height });
  });
  player.attachMediaElement(video);
  player.load();

  return {
    bytes: () => bytes,
    delay: () => null,
    live: true,
    halt() {
      over = true;
      request.abort();
    },
    destroy() {
      over = true;
      request.abort();
      player.destroy();
    },
  };
}
