import assert from 'node:assert/strict';
import { test } from 'node:test';

import { refusal } from '../src/refusal.js';
import { Source } from '../src/source.js';
import { sentence } from '../src/words.js';

const NOW = Date.UTC(2026, 10, 22, 12);
const at = (/** @type {number} */ ago) => new Date(NOW - ago).toISOString();
const list = (/** @type {string[]} */ urls, ago = 0) =>
  JSON.stringify({ generated: at(ago), ttl: 7, hosts: urls.map((http) => ({ http })) });

/** A source whose addresses answer with what is in `answers`. */
function source(/** @type {Record<string, string | number>} */ answers, more = {}) {
  const asked = /** @type {string[]} */ ([]);
  const kept = new Map();
  const s = new Source({
    lists: Object.keys(answers),
    hosts: [{ url: 'http://page', state: 'ready', weight: 100 }],
    secure: false,
    storage: { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => void kept.set(k, v) },
    fetch: /** @type {any} */ (async (/** @type {string} */ url) => {
      asked.push(url);
      const answer = answers[url];
      if (answer === undefined) throw new TypeError('no such host');
      if (typeof answer === 'number') return new Response('', { status: answer });
      return new Response(answer);
    }),
    ...more,
  });
  return { s, asked, kept, answers };
}
const urls = (/** @type {Source} */ s) => s.hosts().map((h) => h.url);

test('the first good list wins', async () => {
  const { s, asked } = source({ a: list(['http://m1']), b: list(['http://m2']) });
  assert.deepEqual(urls(s), ['http://page'], 'before there is a list');
  await s.refresh(NOW);
  assert.deepEqual(urls(s), ['http://m1']);
  assert.deepEqual(asked, ['a']);
  assert.equal(s.ttl, 7000);
  assert.equal(s.trouble, '');
});

test('one that does not answer, is empty, or is wrong, gives way to the next', async () => {
  for (const first of [404, 500, list([]), '<html>', '{}', '{"hosts":[{"rtmp":"rtmp://x"}]}']) {
    const { s } = source({ a: first, b: list(['http://m2']) });
    await s.refresh(NOW);
    assert.deepEqual(urls(s), ['http://m2'], String(first));
    assert.equal(s.trouble, '');
  }
});

test('an old list gives way to a newer one, and is used when there is none', async () => {
  const { s } = source({ a: list(['http://old'], 3600_000), b: list(['http://new']) });
  await s.refresh(NOW);
  assert.deepEqual(urls(s), ['http://new']);
  const alone = source({ a: list(['http://old'], 3600_000) }).s;
  await alone.refresh(NOW);
  assert.deepEqual(urls(alone), ['http://old']);
  assert.equal(alone.trouble, 'The list of mirrors is 60 minutes old.');
});

test('the last good list is kept, and what is wrong is said', async () => {
  const { s, answers } = source({ a: list(['http://m1']) });
  await s.refresh(NOW);
  for (const [now, why] of [[404, /not there \(HTTP 404\)/], [list([]), /is empty/], ['x', /not JSON/], [undefined, /does not answer/]]) {
    answers.a = /** @type {any} */ (now);
    await s.refresh(NOW);
    assert.deepEqual(urls(s), ['http://m1']);
    assert.match(s.trouble, /** @type {RegExp} */ (why));
    assert.match(s.trouble, /The last good one is used/);
  }
  answers.a = list(['http://m3']);
  await s.refresh(NOW);
  assert.deepEqual(urls(s), ['http://m3']);
  assert.equal(s.trouble, '');
});

test('any mirror’s own list will do when the others are gone', async () => {
  const { s, answers } = source({ a: list(['http://m1']) });
  await s.refresh(NOW);
  delete answers.a;
  answers['http://m1/cluster.json'] = list(['http://m1', 'http://m2']);
  await s.refresh(NOW, ['http://m1/cluster.json']);
  assert.deepEqual(urls(s), ['http://m1', 'http://m2']);
});

test('an earlier visit’s list helps when none answers, for a day', async () => {
  const first = source({ a: list(['http://m1']) });
  await first.s.refresh(NOW);
  const later = (/** @type {number} */ ms) => {
    const { s } = source({ a: 500 }, { storage: { getItem: (/** @type {string} */ k) => first.kept.get(k) ?? null, setItem() {} } });
    s.remember(NOW + ms);
    return urls(s);
  };
  assert.deepEqual(later(3600_000), ['http://m1']);
  assert.deepEqual(later(25 * 3600_000), ['http://page']);
});

test('storage that is forbidden, or holds something else, does no harm', async () => {
  const denied = () => {
    throw new DOMException('denied', 'SecurityError');
  };
  const { s } = source({ a: list(['http://m1']) }, { storage: { getItem: denied, setItem: denied } });
  s.remember(NOW);
  await s.refresh(NOW);
  assert.deepEqual(urls(s), ['http://m1']);
  for (const text of ['', '7', '{"at":"x"}', '{"at":1,"text":7}', `{"at":${NOW},"text":"x"}`]) {
    const other = source({ a: 500 }, { storage: { getItem: () => text, setItem() {} } }).s;
    other.remember(NOW);
    assert.deepEqual(urls(other), ['http://page']);
  }
});

test('what a refusal means', async () => {
  const of = (/** @type {number} */ status, body = '', headers = {}) => refusal(new Response(body, { status, headers }));
  assert.equal((await of(404)).why, 'missing');
  assert.equal((await of(403)).why, 'http');
  assert.equal((await of(503, 'This mirror has no connection to its master just now.')).why, 'http');
  const full = '{"code":"full","message":"m","sibling":"http://b.example:8080/"}';
  assert.deepEqual(await of(503, full, { 'Retry-After': '2' }), {
    why: 'busy', detail: 'HTTP 503, full', retryAfter: 2000, sibling: 'http://b.example:8080',
  });
  assert.equal((await of(503, '{"code":"draining","sibling":"javascript:1"}', { 'Retry-After': 'soon' })).sibling, undefined);
  assert.equal((await of(503, full, { 'Retry-After': '999999' })).retryAfter, 60_000);
});

test('every state has its sentence, and the list’s trouble is told with it', () => {
  for (const state of ['connecting', 'waiting', 'switching', 'offline', 'failed', 'full', 'unready', 'nohosts', 'unsupported', 'blocked', 'nomse']) {
    assert.match(sentence(state, { online: true }), /[.…]$/, state);
  }
  assert.equal(sentence('playing', { online: true, trouble: 'The list is old.' }), '');
  assert.match(sentence('failed', { online: true, trouble: 'The list of mirrors is empty.' }), /^The list of mirrors is empty\. No server/);
  assert.match(sentence('failed', { online: false }), /device is offline/);
  assert.equal(sentence('playing', { online: false }), '', 'what plays, plays');
});
