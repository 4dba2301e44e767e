/**
 * FLV files by mpegts.js, for what HLS leaves out. The server puts an index of the key frames in front of the
 * file, without which nobody could seek in most of them.
 * @module
 */

import mpegts from 'mpegts.js';

mpegts.LoggingControl.enableAll = false;

/** Whether this browser can. */
export function supported() {
  return mpegts.getFeatureList().msePlayback;
}

/**
 * @param {HTMLVideoElement} video
 * @param {string} file
 * @param {() => void} cannot Called when it cannot be played, once.
 */
export function play(video, file, cannot) {
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: false, url: `${file}?indexed` },
    { enableWorker: false, seekType: 'range', lazyLoadMaxDuration: 60, autoCleanupSourceBuffer: true },
  );
  let over = false;
  player.on(mpegts.Events.ERROR, () => {
    if (over) return;
    over = true;
    // It is in the middle of its work here.
    queueMicrotask(() => {
      player.destroy();
      cannot();
    });
  });
  player.attachMediaElement(video);
  player.load();
}
