import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Machine } from '../src/machine.js';
import { random } from './tools.js';

/** A machine, a clock of its own, and a log of what it wanted. */
class World {
  constructor(/** @type {number | any[]} */ hosts = 2, options = {}) {
    this.now = 1_000_000;
    this.log = /** @type {string[]} */ ([]);
    this.opened = /** @type {{id: number, url: string, protocol: string}[]} */ ([]);
    this.machine = new Machine(
      {
        connectTimeout: 2000,
        connectCount: 3,
        failureExpiry: 10_000,
        stallTimeout: 3000,
        loadBalance: false,
        protocols: ['flv', 'hls'],
        ...options,
      },
      random(1),
    );
    const list = Array.isArray(hosts) ? hosts : Array.from({ length: hosts }, (_, i) => `h${i}`);
    this.hosts(list);
  }

  hosts(/** @type {string[]} */ urls) {
    this.do((m) => m.setHosts(urls.map((url) => ({ url, weight: 100, state: /** @type {const} */ ('ready') })), this.now));
  }

  do(/** @type {(m: Machine, now: number) => void} */ step) {
    step(this.machine, this.now);
    for (const a of this.machine.take()) {
      if (a.do === 'emit') {
        this.log.push(`${a.event} ${a.args.filter((x) => x !== '').join(' ')}`.trim());
      } else if (a.do === 'open') {
        this.opened.push({ id: a.id, url: a.host.url, protocol: a.protocol });
      } else if (a.do !== 'refresh') {
        this.log.push(`${a.do} ${a.id}`);
      } else {
        this.log.push('refresh');
      }
    }
    return this;
  }

  /** Lets time pass, with every timer in its order. */
  pass(/** @type {number} */ ms) {
    const end = this.now + ms;
    for (let n = 0; n < 10_000; n++) {
      const at = this.machine.nextTimeout();
      if (at === null || at > end) {
        this.now = end;
        return this;
      }
      this.now = Math.max(this.now, at);
      this.do((m, now) => m.timeout(now));
    }
    throw new Error('timers without end');
  }

  /** Lets time pass until the next one is tried. */
  next() {
    const before = this.opened.length;
    for (let i = 0; i < 1000 && this.opened.length === before; i++) this.pass(10);
    assert.equal(this.opened.length, before + 1);
    return this;
  }

  start() {
    return this.do((m, now) => m.start(now));
  }

  /** The newest connection gets its picture. */
  play() {
    const { id } = this.last();
    return this.do((m, now) => m.opened(id, now)).do((m, now) => m.progress(id, now)).do((m, now) => m.frame(id, now));
  }

  /** Media keep coming for so long. */
  run(/** @type {number} */ ms, id = this.last().id) {
    for (let t = 0; t < ms; t += 100) this.pass(100).do((m, now) => m.progress(id, now));
    return this;
  }

  fail(/** @type {any} */ failure, id = this.last().id) {
    return this.do((m, now) => m.failed(id, typeof failure === 'string' ? { why: failure } : failure, now));
  }

  last() {
    const last = this.opened[this.opened.length - 1];
    assert.ok(last, 'nothing was opened');
    return last;
  }

  /** What was logged since the last look. */
  said() {
    return this.log.splice(0);
  }
}

test('the first mirror plays', () => {
  const w = new World().start().play();
  assert.deepEqual(w.said(), ['state connecting', 'connect h0 0', 'show 1', 'state playing']);
  w.run(60_000);
  assert.deepEqual(w.said(), []);
});

test('a refused port moves on at once', () => {
  const w = new World().start().fail('refused').play();
  assert.deepEqual(w.said(), [
    'state connecting', 'connect h0 0', 'close 1', 'connectFailed h0 0 refused', 'connect h1 1', 'show 2', 'state playing',
  ]);
  assert.equal(w.now, 1_000_000, 'no time has passed');
});

test('one that does not answer is left after connectTimeout', () => {
  const w = new World().start().pass(1999);
  assert.equal(w.opened.length, 1);
  w.pass(1);
  assert.equal(w.last().url, 'h1');
  assert.ok(w.said().includes('connectFailed h0 0 timeout'));
});

test('one that answers and sends nothing is left after stallTimeout', () => {
  const w = new World().start();
  w.do((m, now) => m.opened(1, now)).pass(2999);
  assert.equal(w.opened.length, 1);
  w.pass(1);
  assert.equal(w.last().url, 'h1');
});

test('bytes that never become a picture are no progress', () => {
  const w = new World().start();
  w.run(8_900, 1);
  assert.equal(w.opened.length, 1);
  w.run(300, 1);
  assert.equal(w.last().url, 'h1');
});

test('the end of the stream moves on, the last picture stays until there is a new one', () => {
  const w = new World().start().play().run(5000);
  w.said();
  w.fail('ended');
  assert.deepEqual(w.said(), ['halt 1', 'refresh', 'state switching', 'connect h1 1']);
  w.pass(300).play();
  assert.deepEqual(w.said(), ['show 2', 'close 1', 'switch h0 h1 ended 300', 'state playing']);
});

test('silence moves on after stallTimeout, and the time is counted from the last sign', () => {
  const w = new World().start().play().run(5000);
  w.said();
  w.pass(2999);
  assert.deepEqual(w.said(), []);
  w.pass(1);
  assert.ok(w.said().includes('halt 1'));
  w.pass(100).play();
  assert.ok(w.said().includes('switch h0 h1 stalled 3100'));
});

test('a stream that waits for its source is not fled from', () => {
  const w = new World().start().play().run(1000);
  w.said();
  for (let i = 0; i < 120; i++) w.pass(1000).do((m, now) => m.waiting(1, now));
  assert.deepEqual(w.said(), ['state waiting']);
  assert.equal(w.opened.length, 1);
  w.run(1000);
  assert.deepEqual(w.said(), ['state playing']);
});

test('a mirror that dies while its stream waits is left', () => {
  const w = new World().start().play();
  for (let i = 0; i < 5; i++) w.pass(1000).do((m, now) => m.waiting(1, now));
  w.said();
  w.pass(3000);
  assert.equal(w.last().url, 'h1');
  assert.equal(w.machine.state, 'switching');
});

test('one begins to watch while the stream waits', () => {
  const w = new World().start();
  for (let i = 0; i < 30; i++) w.do((m, now) => m.waiting(1, now)).pass(1000);
  assert.equal(w.machine.state, 'waiting');
  assert.equal(w.opened.length, 1);
  w.play();
  assert.equal(w.machine.state, 'playing');
});

test('segments come in bursts: HLS may be silent for longer', () => {
  const w = new World(2, { protocols: ['hls'] }).start().play();
  w.do((m) => m.pace(1, 12_000));
  w.pass(11_999);
  assert.equal(w.opened.length, 1);
  w.pass(1);
  assert.equal(w.last().url, 'h1');
});

test('held by the viewer, silence is no fault; let go, it is again', () => {
  const w = new World().start().play();
  w.do((m, now) => m.hold(true, now)).pass(60_000);
  assert.equal(w.opened.length, 1);
  w.do((m, now) => m.hold(false, now)).pass(2999);
  assert.equal(w.opened.length, 1);
  w.pass(1);
  assert.equal(w.last().url, 'h1');
});

test('nobody answers: passes, then the event, then it goes on by itself', () => {
  const w = new World(2).start();
  const begun = w.now;
  for (let i = 0; i < 6; i++) {
    w.fail('refused');
    w.pass(2000);
  }
  const log = w.said();
  assert.equal(log.filter((l) => l === 'failed').length, 1);
  assert.equal(log.filter((l) => l.startsWith('connectFailed')).length, 6, 'three passes over two mirrors');
  assert.deepEqual(w.opened.slice(0, 6).map((o) => o.url), ['h0', 'h1', 'h0', 'h1', 'h0', 'h1'], 'each pass over both');
  assert.equal(w.machine.state, 'failed');
  for (let i = 0; i < 100; i++) {
    if (!w.machine.next) w.next();
    w.fail('refused');
  }
  assert.ok(!w.said().includes('failed'), 'said once');
  assert.ok(w.opened.length > 60, 'it never gives up');
  assert.ok(w.now - begun < 900_000);
  w.next().play();
  assert.equal(w.machine.state, 'playing');
});

test('who comes back after everybody failed is found by the next pass, not after failureExpiry', () => {
  const w = new World(3).start();
  for (let i = 0; i < 9; i++) {
    w.fail('refused');
    if (!w.machine.next) w.next();
  }
  const from = w.opened.length - 1;
  for (let i = 0; i < 3 && w.opened[w.opened.length - 1]?.url !== 'h2'; i++) {
    w.fail('refused');
    if (!w.machine.next) w.next();
  }
  w.play();
  assert.equal(w.machine.current?.host.url, 'h2');
  assert.ok(w.opened.length - from <= 3);
});

test('when everybody is full, or has no stream, that is what is said', () => {
  for (const [why, state] of /** @type {const} */ ([['busy', 'full'], ['http', 'unready'], ['timeout', 'failed']])) {
    const w = new World(2, { connectCount: 1 }).start().fail(why).fail('refused');
    assert.equal(w.machine.state, state);
    w.next();
    assert.equal(w.machine.state, state, 'until there is something else to say');
  }
});

test('after an outage the next one is told again', () => {
  const w = new World(1, { connectCount: 1 }).start().fail('refused');
  assert.ok(w.said().includes('failed'));
  w.next().play();
  w.said();
  w.fail('ended').fail('refused');
  assert.ok(w.said().includes('failed'));
});

test('a stream that is nowhere is waited for, and no mirror is blamed', () => {
  const w = new World(3).start().fail('missing').fail('missing').fail('missing');
  assert.equal(w.machine.state, 'offline');
  assert.equal(w.opened.length, 3, 'each was asked');
  assert.ok(!w.said().includes('failed'));
  assert.equal(w.machine.hosts.marks.size, 0);
  w.pass(4000);
  assert.equal(w.opened.length, 4);
  assert.equal(w.machine.state, 'offline', 'no flicker');
  w.play();
  assert.equal(w.machine.state, 'playing');
});

test('a stream that ends everywhere is over', () => {
  const w = new World(2).start().play().run(1000).fail('ended');
  w.fail('missing').fail('missing');
  assert.equal(w.machine.state, 'offline');
});

test('a full mirror names a sibling, which nobody had listed', () => {
  const w = new World(1).start().fail({ why: 'busy', retryAfter: 2000, sibling: 'http://sib' });
  assert.equal(w.last().url, 'http://sib');
  w.play();
  assert.equal(w.machine.state, 'playing');
});

test('a leaving mirror: the next one takes over at its first picture, the old one plays until then', () => {
  const w = new World(2).start().play().run(3000);
  w.said();
  w.do((m, now) => m.move(1, null, now));
  assert.deepEqual(w.said(), ['refresh', 'connect h1 1']);
  w.run(200, 1);
  assert.deepEqual(w.said(), []);
  w.play();
  assert.deepEqual(w.said(), ['show 2', 'close 1', 'switch h0 h1 drain 200']);
  assert.equal(w.machine.state, 'playing');
});

test('a leaving mirror without another one: it is watched until its end, and others are looked for', () => {
  const w = new World(['h0']).start().play();
  w.do((m, now) => m.move(1, null, now));
  w.run(5000, 1);
  assert.equal(w.machine.state, 'playing');
  assert.equal(w.opened.length, 1);
  w.hosts(['h0', 'h9']);
  w.run(2000, 1);
  assert.equal(w.last().url, 'h9');
  w.play();
  assert.equal(w.machine.current?.host.url, 'h9');
});

test('the list says that a mirror leaves', () => {
  const w = new World(['a', 'b']).start().play();
  const list = (/** @type {any} */ a, /** @type {any} */ b) =>
    w.do((m) => m.setHosts([{ url: 'a', weight: 100, state: a }, { url: 'b', weight: 100, state: b }], w.now));
  list('draining', 'full');
  assert.equal(w.opened.length, 1, 'nobody has room: it stays to the end');
  list('draining', 'ready');
  list('draining', 'ready');
  assert.deepEqual(w.opened.map((o) => o.url), ['a', 'b']);
  w.play();
  assert.equal(w.machine.current?.host.url, 'b');
  list('draining', 'ready');
  assert.equal(w.opened.length, 2);
});

test('a leaving mirror names another one', () => {
  const w = new World(['h0']).start().play();
  w.do((m, now) => m.move(1, 'http://sib', now));
  assert.equal(w.last().url, 'http://sib');
});

test('the old one dies while the next is being connected', () => {
  const w = new World(2).start().play();
  w.do((m, now) => m.move(1, null, now)).fail('ended', 1);
  assert.equal(w.opened.length, 2, 'the same search goes on');
  w.play();
  assert.equal(w.machine.current?.host.url, 'h1');
});

test('a mirror that failed is forgiven after failureExpiry', () => {
  const w = new World(2).start().play().run(1000).fail('ended').play();
  assert.equal(w.machine.current?.host.url, 'h1');
  w.run(5000).fail('ended');
  assert.equal(w.last().url, 'h0', 'nobody else is there: better than none');
  w.play().run(20_000).fail('ended');
  assert.equal(w.last().url, 'h1', 'in order again');
});

test('what cannot be played in one way is played in another', () => {
  const w = new World(1).start().fail('unsupported');
  assert.deepEqual(w.last(), { id: 2, url: 'h0', protocol: 'hls' });
  w.fail('unsupported');
  assert.equal(w.machine.state, 'unsupported');
  assert.ok(w.said().includes('failed'));
  assert.equal(w.machine.nextTimeout(), null);
});

test('answers that never become a picture lead to the other way', () => {
  const w = new World(2).start();
  for (const id of [1, 2]) w.do((m, now) => m.opened(id, now)).fail('broken', id);
  w.pass(1000);
  assert.equal(w.last().protocol, 'hls');
});

test('a restart of the only mirror does not change the way', () => {
  const w = new World(1).start().play().fail('ended');
  for (let i = 0; i < 5; i++) w.fail('refused').pass(4000);
  assert.equal(w.last().protocol, 'flv');
});

test('without any mirror it says so, and begins as soon as one is known', () => {
  const w = new World([]).start();
  assert.equal(w.machine.state, 'nohosts');
  w.hosts(['h0']);
  assert.equal(w.last().url, 'h0');
});

test('the network is back: at once', () => {
  const w = new World(1, { connectCount: 1 }).start().fail('refused').pass(1);
  const before = w.opened.length;
  w.do((m, now) => m.online(now));
  assert.equal(w.opened.length, before + 1);
});

test('what a closed connection still says is not heard', () => {
  const w = new World(2).start().fail('refused');
  w.said();
  w.do((m, now) => m.frame(1, now)).do((m, now) => m.progress(1, now)).fail('ended', 1).do((m, now) => m.move(1, null, now));
  assert.deepEqual(w.said(), []);
});

test('stopped, it does nothing more; started, it plays again', () => {
  const w = new World(2).start().play();
  w.do((m) => m.stop());
  assert.equal(w.machine.nextTimeout(), null);
  w.said();
  w.pass(60_000).start().play();
  assert.ok(w.said().includes('close 1'));
  assert.equal(w.machine.state, 'playing');
});

test('whatever happens, at most two connections are open, and there is always a way on', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const r = random(seed);
    const w = new World(1 + Math.floor(r() * 5), { loadBalance: r() < 0.5 });
    const open = new Set();
    const step = (/** @type {(m: Machine, now: number) => void} */ f) => {
      f(w.machine, w.now);
      for (const a of w.machine.take()) {
        if (a.do === 'open') {
          open.add(a.id);
          w.opened.push({ id: a.id, url: a.host.url, protocol: a.protocol });
        }
        if (a.do === 'close') assert.ok(open.delete(a.id), 'closed once');
        if (a.do === 'show' || a.do === 'halt') assert.ok(open.has(a.id));
      }
      assert.ok(open.size <= 2, `seed ${seed}: ${open.size} open`);
      const alive = w.machine.nextTimeout() !== null || !w.machine.running;
      assert.ok(alive, `seed ${seed}: stuck in ${w.machine.state}`);
    };
    step((m, now) => m.start(now));
    const whys = ['refused', 'timeout', 'http', 'busy', 'missing', 'ended', 'stalled', 'broken'];
    for (let i = 0; i < 200; i++) {
      w.now += Math.floor(r() * 1500);
      const id = w.opened.length - Math.floor(r() * 3);
      const what = Math.floor(r() * 9);
      step((m, now) => {
        if (what === 0) m.frame(id, now);
        else if (what === 1) m.progress(id, now);
        else if (what === 2) m.waiting(id, now);
        else if (what === 3) m.move(id, r() < 0.5 ? 'http://sib' : null, now);
        else if (what === 4) m.failed(id, { why: /** @type {any} */ (whys[Math.floor(r() * whys.length)]) }, now);
        else if (what === 5) m.opened(id, now);
        else if (what === 6 && r() < 0.1) m.stop();
        else if (what === 6) m.start(now);
        else if (what === 7) m.online(now);
        else m.timeout(now);
      });
    }
  }
});
