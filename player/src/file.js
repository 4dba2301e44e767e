/**
 * Files that browsers do not play as they are, as HLS: the server knows where each key frame is, so that a seek
 * leads anywhere at once; of FLV itself a browser would have to read all that is in front.
 * @module
 */

import Hls from 'hls.js/light';

/**
 * @param {HTMLVideoElement} video
 * @param {string} playlist
 * @param {() => void} cannot Called when it cannot be played, once.
 */
export function play(video, playlist, cannot) {
  if (!Hls.isSupported()) {
    video.addEventListener('error', cannot, { once: true });
    video.src = playlist; // as Safari on telephones has it
    return;
  }
  const hls = new Hls({
    enableWorker: false, // fragments are fMP4 already: there is nothing to convert
    maxBufferLength: 30,
    backBufferLength: 60,
  });
  let recovered = false;
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
      recovered = true;
      hls.recoverMediaError();
      return;
    }
    hls.destroy();
    cannot();
  });
  hls.attachMedia(video);
  hls.loadSource(playlist);
}
