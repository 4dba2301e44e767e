/**
 * Files that browsers do not play as they are, as HLS: the server knows where each key frame is, so that a seek
 * leads anywhere at once; of FLV itself a browser would have to read all that is in front.
 * @module
 */

import Hls from 'hls.js/light';

import { soundIsMp3 } from './flv.js';

/** How much of a file is looked at for its first sound, bytes. */
const LOOK = 256 * 1024;

/**
 * @param {HTMLVideoElement} video
 * @param {string} playlist
 * @param {() => void} cannot Called when it cannot be played, once.
 */
export async function play(video, playlist, cannot) {
  const file = playlist.replace(/\.m3u8$/, '');
  if (await hasMp3(file)) {
    // HLS would leave it out.
    const engine = await import('./file-flv.js');
    if (engine.supported()) return engine.play(video, file, cannot);
  }
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

/** @param {string} file */
async function hasMp3(file) {
  try {
    const answer = await fetch(file, { headers: { Range: `bytes=0-${LOOK - 1}` } });
    return answer.status === 206 && soundIsMp3(new Uint8Array(await answer.arrayBuffer()));
  } catch {
    return false; // whoever plays it will say what is wrong
  }
}
