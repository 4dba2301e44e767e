import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FAR, LATE, TARGET, begin, steer } from '../src/edge.js';

/** @typedef {[number, number]} Range */
const view = (/** @type {any} */ given) => steer({ time: 0, buffered: /** @type {Range[]} */ ([]), rate: 1, ready: true, ...given });

test('near the live edge nothing is done', () => {
  assert.equal(view({ time: 9.5, buffered: [[0, 10]] }), null);
  assert.equal(view({ time: 9, buffered: [[0, 10]] }), null);
  assert.equal(view({}), null, 'nothing has come yet');
});

test('a little late, it plays a little faster until it is where it should be', () => {
  assert.deepEqual(view({ time: 10 - LATE - 0.1, buffered: [[0, 10]] }), { rate: 1.1 });
  assert.equal(view({ time: 10 - LATE - 0.1, buffered: [[0, 10]], rate: 1.1 }), null, 'already');
  assert.equal(view({ time: 10 - LATE - 0.1, buffered: [[0, 10]], ready: false }), null, 'not while it stutters');
  assert.equal(view({ time: 10 - TARGET - 0.1, buffered: [[0, 10]], rate: 1.1 }), null, 'not yet');
  assert.deepEqual(view({ time: 10 - TARGET + 0.1, buffered: [[0, 10]], rate: 1.1 }), { rate: 1 });
});

test('with nothing to spare, it plays a little slower until there is', () => {
  assert.deepEqual(view({ time: 9.8, buffered: [[0, 10]] }), { rate: 0.95 });
  assert.equal(view({ time: 9.8, buffered: [[0, 10]], ready: false }), null);
  assert.equal(view({ time: 9.5, buffered: [[0, 10]], rate: 0.95 }), null, 'not yet');
  assert.deepEqual(view({ time: 10 - TARGET - 0.05, buffered: [[0, 10]], rate: 0.95 }), { rate: 1 });
});

test('far behind, it jumps', () => {
  assert.deepEqual(view({ time: 20 - FAR - 0.1, buffered: [[0, 20]] }), { seek: 20 - TARGET });
});

test('a hole in what has come is jumped over: nothing will ever fill it', () => {
  const jump = view({ time: 10, buffered: [[0, 10], [12, 12.5]], ready: false });
  assert.deepEqual(jump, { seek: 12 });
  assert.deepEqual(view({ time: 0, buffered: [[1000, 1002]], ready: false }), { seek: 1002 - TARGET });
  assert.equal(view({ time: 9.5, buffered: [[0, 10], [10.2, 10.4]] }), null, 'not before it is there');
});

test('whatever it is given, what it does is within what has come', () => {
  for (let i = 0; i < 2000; i++) {
    const start = Math.random() * 100;
    const end = start + Math.random() * 10;
    const time = Math.random() * 120;
    const step = view({ time, buffered: [[start, end]], rate: Math.random() < 0.5 ? 1 : 1.1, ready: Math.random() < 0.5 });
    if (step && 'seek' in step) assert.ok(step.seek >= start && step.seek <= end);
  }
});

test('it begins near the end of what the mirror had kept', () => {
  assert.equal(begin(0, [[0, 2]]), 2 - TARGET);
  assert.equal(begin(0, [[0, 0.8]]), null, 'so little is not worth a jump');
  assert.equal(begin(0, [[5, 5.2]]), 5);
  assert.equal(begin(0, []), null);
});
