import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Hosts, weighted } from '../src/hosts.js';
import { chiSquared, random } from './tools.js';

const none = new Set();
/** @returns {import('../src/lists.js').Host} */
const host = (/** @type {string} */ url, weight = 100, /** @type {any} */ state = 'ready') => ({ url, weight, state });
const hosts = (/** @type {any[]} */ list, loadBalance = true) => {
  const h = new Hosts({ loadBalance, failureExpiry: 10_000, random: random(7) });
  h.set(list);
  return h;
};

test('the spread is even: first and last mirror get what the others get', () => {
  for (const n of [2, 4, 7]) {
    const h = hosts(Array.from({ length: n }, (_, i) => host(`h${i}`)));
    const counts = Array(n).fill(0);
    for (let i = 0; i < 4000; i++) counts[h.index(/** @type {any} */ (h.next(none, 0)))] += 1;
    const { p } = chiSquared(counts, counts.map(() => 1));
    assert.ok(p > 0.001, `${counts}: p = ${p}`);
  }
});

test('the test would see the plugin’s rounding, which halves the share of the first and the last', () => {
  const pick = random(3);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 400; i++) counts[Math.round(pick() * 3)] += 1;
  assert.ok(chiSquared(counts, [1, 1, 1, 1]).p < 0.001);
});

test('shares follow the weights', () => {
  const weights = [1, 2, 3, 10];
  const list = weights.map((w, i) => host(`h${i}`, w));
  const pick = random(11);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 8000; i++) counts[list.indexOf(/** @type {any} */ (weighted(list, pick)))] += 1;
  assert.ok(chiSquared(counts, weights).p > 0.001, `${counts}`);
});

test('weights of nothing are no reason to choose nobody', () => {
  const pick = random(5);
  const list = [host('a', 0), host('b', 0)];
  const seen = new Set(Array.from({ length: 50 }, () => weighted(list, pick)?.url));
  assert.deepEqual([...seen].sort(), ['a', 'b']);
  const mixed = [host('a', 0), host('b', 1)];
  for (let i = 0; i < 50; i++) assert.equal(weighted(mixed, pick)?.url, 'b');
  assert.equal(weighted([], pick), null);
  assert.equal(weighted(list, () => 0.999999999999)?.url, 'b');
});

test('without load balance it is the first that is not known to fail', () => {
  const h = hosts([host('a'), host('b'), host('c')], false);
  assert.equal(h.next(none, 0)?.url, 'a');
  h.fail(host('a'), 0);
  assert.equal(h.next(none, 0)?.url, 'b');
  assert.equal(h.next(new Set(['b']), 0)?.url, 'c');
  assert.equal(h.next(none, 9_999)?.url, 'b');
  assert.equal(h.next(none, 10_000)?.url, 'a', 'it is forgiven');
});

test('full and leaving mirrors come last, failed ones only when there is nobody else', () => {
  const h = hosts([host('a', 100, 'full'), host('b', 100, 'draining'), host('c')], false);
  assert.equal(h.next(none, 0)?.url, 'c');
  assert.equal(h.next(new Set(['c']), 0)?.url, 'a');
  for (const url of ['a', 'b', 'c']) h.fail(host(url), 0);
  assert.equal(h.next(none, 0)?.url, 'a', 'better than nobody');
  assert.equal(h.next(new Set(['a']), 0), null, 'but not within a pass that tried others');
});

test('the one to get away from is not chosen', () => {
  const h = hosts([host('a'), host('b')], false);
  assert.equal(h.next(none, 0, 'a')?.url, 'b');
  assert.equal(hosts([host('a')]).next(none, 0, 'a'), null);
});

test('a mirror that another one named can be chosen, and no flood of them', () => {
  const h = hosts([host('a')], false);
  h.invite('z');
  h.invite('z');
  assert.equal(h.next(new Set(['a']), 0)?.url, 'z');
  assert.equal(h.index(host('z')), 1);
  h.set([host('a'), host('z')]);
  assert.equal(h.all().length, 2, 'it is in the list now');
  for (let i = 0; i < 100; i++) h.invite(`x${i}`);
  assert.ok(h.all().length <= 10);
});

test('what is remembered outlives the page, and no longer than failureExpiry', () => {
  const h = hosts([host('a'), host('b')], false);
  h.fail(host('a'), 1000);
  assert.equal(h.changed, true);
  const kept = h.kept(1000);
  const next = () => hosts([host('a'), host('b')], false);
  const one = next();
  one.remember(kept, 5000);
  assert.equal(one.next(none, 5000)?.url, 'b');
  assert.equal(one.next(none, 11_000)?.url, 'a', 'it is forgiven');
  const late = next();
  late.remember(kept, 20_000);
  assert.equal(late.marks.size, 0);
  const clock = next();
  clock.remember('[["a",9e15]]', 0);
  assert.equal(clock.next(none, 10_000)?.url, 'a', 'however the clock was set');
  for (const wrong of [null, '', 'x', '7', '{}', '[7]', '[["a"]]', '[["a","b"]]', '[[1,2]]', '[null]']) {
    const none = next();
    none.remember(wrong, 0);
    assert.equal(none.marks.size, 0, String(wrong));
  }
  const flood = next();
  flood.remember(JSON.stringify(Array.from({ length: 5000 }, (_, i) => [`h${i}`, 5000])), 0);
  assert.equal(flood.marks.size, 256);
});

test('what is remembered of mirrors is bounded', () => {
  const h = hosts([]);
  for (let i = 0; i < 5000; i++) h.fail(host(`h${i}`), i * 100);
  assert.ok(h.marks.size < 400, `${h.marks.size}`);
});
