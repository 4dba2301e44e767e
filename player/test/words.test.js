import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clock } from '../src/words.js';

test('times are written as people write them', () => {
  const said = [0, 0.9, 65, 599.99, 3600, 7209.5, NaN, Infinity, -3].map(clock);
  assert.deepEqual(said, ['0:00', '0:00', '1:05', '9:59', '1:00:00', '2:00:09', '0:00', '0:00', '0:00']);
});
