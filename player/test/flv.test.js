import assert from 'node:assert/strict';
import { test } from 'node:test';

import { soundIsMp3 } from '../src/flv.js';

const HEAD = [0x46, 0x4c, 0x56, 1, 5, 0, 0, 0, 9, 0, 0, 0, 0];
const tag = (/** @type {number} */ kind, /** @type {number[]} */ body) =>
  [kind, 0, 0, body.length, 0, 0, 0, 0, 0, 0, 0, ...body, 0, 0, 0, 11 + body.length];

test('the first sound says what it is', () => {
  const of = (/** @type {number[][]} */ ...tags) => soundIsMp3(Uint8Array.from([...HEAD, ...tags.flat()]));
  const video = tag(9, [0x17, 0, 0, 0, 0]);
  const script = tag(18, [2, 0, 1, 0x78]);
  assert.equal(of(script, video, tag(8, [0x2f, 0xff])), true);
  assert.equal(of(video, tag(8, []), tag(8, [0xef, 0xff])), true);
  assert.equal(of(video, tag(8, [0xaf, 0, 0x11, 0x90]), tag(8, [0x2f])), false, 'AAC');
  assert.equal(of(script, video), false, 'none');
  assert.equal(soundIsMp3(Uint8Array.from(tag(8, [0x2f]))), false, 'no FLV');
  const whole = [...HEAD, ...script, ...video, ...tag(8, [0x2f, 1])];
  for (let end = 0; end < whole.length - 5; end++) assert.equal(soundIsMp3(Uint8Array.from(whole.slice(0, end))), false);
});
