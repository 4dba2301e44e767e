import assert from 'node:assert/strict';
import { test } from 'node:test';

import { OptionError, check } from '../src/options.js';

const base = 'http://page.example:8080/watch/live/x';
const bad = (/** @type {any} */ options, /** @type {RegExp} */ why) =>
  assert.throws(() => check({ stream: 'live/x', ...options }, base), (e) => e instanceof OptionError && why.test(e.message));

test('the defaults are the plugin’s, and the page’s own server', () => {
  const o = check({ stream: 'live/x' }, base);
  assert.deepEqual(o.lists, ['http://page.example:8080/cluster.json']);
  assert.deepEqual(o.fixed.map((h) => h.url), ['http://page.example:8080']);
  assert.deepEqual([o.connectTimeout, o.connectCount, o.loadBalance], [2000, 3, true]);
});

test('hosts as the plugin had them: in order, as text or as objects', () => {
  const o = check({ stream: 'live/x', hosts: ['http://a.example:8080', { host: 'http://b.example', weight: 3 }] }, base);
  assert.deepEqual(o.fixed, [
    { url: 'http://a.example:8080', state: 'ready', weight: 100 },
    { url: 'http://b.example', state: 'ready', weight: 3 },
  ]);
  assert.equal(o.loadBalance, false);
  assert.deepEqual(o.lists, []);
});

test('hosts as an attribute has them', () => {
  const o = check({ stream: '/live/x', hosts: 'https://www.example.org/cluster.json, http://a.example  http://b.example' }, base);
  assert.equal(o.stream, 'live/x');
  assert.deepEqual(o.lists, ['https://www.example.org/cluster.json']);
  assert.equal(o.fixed.length, 2);
});

test('a mistake is told with what would be right', () => {
  bad({ stream: undefined }, /APP\/STREAM/);
  bad({ stream: 'x' }, /APP\/STREAM/);
  bad({ stream: 'live/x?y' }, /APP\/STREAM/);
  bad({ hosts: ['rtmp://a.example/live'] }, /browsers do not play RTMP/);
  bad({ hosts: [{}] }, /hosts/);
  bad({ hosts: [7] }, /hosts/);
  bad({ hosts: [{ host: 'http://a.example', weight: -1 }] }, /weight/);
  bad({ connectTimeout: '2000' }, /connectTimeout.*number from 100/);
  bad({ connectTimeout: NaN }, /connectTimeout/);
  bad({ connectCount: 0 }, /connectCount/);
  bad({ protocols: ['rtmp'] }, /flv, hls, native/);
});
