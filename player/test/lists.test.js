import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ListError, MAX_HOSTS, baseUrl, isList, parseList } from '../src/lists.js';

const open = { secure: false };

test('a list gives its mirrors', () => {
  const list = parseList(
    JSON.stringify({
      version: 1,
      ttl: 3,
      generated: '2026-11-22T12:00:00Z',
      hosts: [
        { id: 'a', http: 'http://192.0.2.1:8080', weight: 30, state: 'ready', unheard: 'of' },
        { id: 'b', http: 'http://192.0.2.2:8080/', state: 'draining' },
        { id: 'c', rtmp: 'rtmp://192.0.2.3' },
        { id: 'a2', http: 'http://192.0.2.1:8080' },
      ],
    }),
    open,
  );
  assert.deepEqual(list.hosts, [
    { url: 'http://192.0.2.1:8080', state: 'ready', weight: 30, id: 'a' },
    { url: 'http://192.0.2.2:8080', state: 'draining', weight: 100, id: 'b' },
  ]);
  assert.equal(list.unusable, 1);
  assert.equal(list.ttl, 3000);
  assert.equal(list.generated, Date.UTC(2026, 10, 22, 12));
});

test('a list that is none says why', () => {
  const why = (/** @type {string} */ text, page = open) => {
    try {
      parseList(text, page);
    } catch (error) {
      assert.ok(error instanceof ListError);
      return error.message;
    }
    return 'nothing';
  };
  assert.match(why('<html>'), /not JSON/);
  assert.match(why('[]'), /no “hosts”/);
  assert.match(why('null'), /no “hosts”/);
  assert.match(why('{"hosts": {}}'), /no “hosts”/);
  assert.match(why('{"hosts": [{"rtmp": "rtmp://a"}]}'), /No mirror of the list has an HTTP/);
  assert.match(why('{"hosts": [{"http": "http://a.example"}]}', { secure: true }), /HTTPS/);
  assert.match(why(`"${'x'.repeat(3_000_000)}"`), /too long/);
  assert.equal(why('{"hosts": []}'), 'nothing');
});

test('what is wrong in a list does no harm', () => {
  const entries = [
    null, 7, 'http://a.example', [], {}, { http: 7 }, { http: 'javascript:alert(1)' }, { http: 'http://u:p@a.example' },
    { http: 'http://a.example', weight: -5, state: 'dancing' }, { http: 'http://b.example', weight: 1e9 },
  ];
  const { hosts, unusable } = parseList(JSON.stringify({ hosts: entries, ttl: -1 }), open);
  assert.deepEqual(hosts.map((h) => [h.url, h.weight, h.state]), [
    ['http://a.example', 100, 'ready'],
    ['http://b.example', 1000, 'ready'],
  ]);
  assert.equal(unusable, 8);
});

test('a thousand mirrors are read, and no more than there may be', () => {
  const hosts = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => ({ http: `http://m${i}.example` }));
  assert.equal(parseList(JSON.stringify({ hosts: hosts(1000) }), open).hosts.length, 1000);
  assert.equal(parseList(JSON.stringify({ hosts: hosts(MAX_HOSTS) }), open).hosts.length, MAX_HOSTS);
  assert.equal(parseList(JSON.stringify({ hosts: hosts(MAX_HOSTS + 1) }), open).hosts.length, MAX_HOSTS);
});

test('on an HTTPS page only HTTPS counts', () => {
  const text = JSON.stringify({ hosts: [{ http: 'http://a.example', https: 'https://a.example' }, { http: 'http://b.example' }] });
  assert.deepEqual(parseList(text, { secure: true }).hosts.map((h) => h.url), ['https://a.example']);
  assert.deepEqual(parseList(text, open).hosts.map((h) => h.url), ['http://a.example', 'http://b.example']);
});

test('addresses as people write them', () => {
  const base = 'http://page.example:8080/watch/live/x';
  assert.equal(baseUrl('http://a.example:8080/', base), 'http://a.example:8080');
  assert.equal(baseUrl('/', base), 'http://page.example:8080');
  assert.equal(baseUrl('192.0.2.1:8080', base), 'http://192.0.2.1:8080');
  assert.equal(baseUrl('https://a.example/mirror/', base), 'https://a.example/mirror');
  assert.throws(() => baseUrl('rtmp://a.example/live', base), /do not play RTMP.*http:\/\/a\.example:8080/);
  assert.throws(() => baseUrl('ftp://a.example', base), /not an http/);
  assert.throws(() => baseUrl('http://', base), /not an address/);
  assert.ok(isList('/cluster.json') && isList('http://a/cluster.json?x=1'));
  assert.ok(!isList('http://a.example:8080') && !isList('http://a/?x=.json'));
});
