/**
 * What a player must know of an FLV file before it chooses how to play it.
 * @module
 */

const AUDIO = 8;

/**
 * Whether the first sound in it is MP3.
 * @param {Uint8Array} bytes The beginning of the file.
 */
export function soundIsMp3(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 13 || view.getUint32(0) >>> 8 !== 0x464c56) return false;
  // Behind the header and the size in front of the first tag.
  for (let at = view.getUint32(5) + 4; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at) & 0xffffff;
    if ((view.getUint8(at) & 0x1f) === AUDIO && size > 0) {
      const format = view.getUint8(at + 11) >> 4;
      return format === 2 || format === 14;
    }
    at += 11 + size + 4;
  }
  return false;
}
