/** The pages and the player in a real browser, against real servers and a real encoder. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import {
  Cluster, SCREEN, browser, figures, hosted, killAll, longestStand, open, pause, pictureNumber, plays, record, says, told, until, visit, within,
} from './world.js';

describe('the player', { concurrency: false, timeout: 600_000 }, () => {
  let chrome;
  let cluster;
  /** The player's folder, on a web server of its own. */
  let site;

  before(async () => {
    [cluster, chrome, site] = await Promise.all([Cluster.start(2), browser(), hosted()]);
  });

  after(async () => {
    await chrome?.close();
    await site?.close();
    await killAll();
  });

  /** A page, by default of the first mirror's. */
  const at = (path, todo, options = {}) => visit(chrome, path.startsWith('http') ? path : cluster.mirrors[0].url + path, options, todo);

  /** The same, for a test that closes it itself. */
  const visitable = (path) => open(chrome, cluster.mirrors[0].url + path);

  it('plays H.264 and AAC on the start page', () =>
    at('/', async (page) => {
      const one = await plays(page, { pictures: 25 });
      assert.equal(one.stats.protocol, 'flv');
      assert.deepEqual([one.stats.media.width, one.stats.media.height], [640, 360]);
      assert.ok(one.audio > 1000, `${one.audio} bytes of sound decoded`);
      assert.ok(one.stats.delay < 5, `${one.stats.delay} s`);
      // What is on the screen, not what the player says of itself: numbers of the programme, in order.
      const read = () => until('the picture’s clock', () => pictureNumber(page));
      const first = await read();
      const second = await until('another picture', async () => {
        const n = await read();
        return n !== first ? n : null;
      });
      assert.ok(first < 200 && second < 200, `${first}, ${second}`);
      const two = await plays(page, { pictures: one.stats.decoded + 25 });
      assert.ok(two.time > one.time);
    }));

  it('has a page for each stream, with a snippet and the mirror and delay on request', () =>
    at('/watch/live/event', async (page) => {
      await plays(page);
      assert.equal(await page.locator('crtmp-player .facts').isVisible(), false);
      await page.getByRole('button', { name: 'Mirror and delay', exact: true }).click();
      await until('the details', async () => /Delay in the player/.test(await page.locator('crtmp-player .facts').innerText()));
      const text = await page.locator('crtmp-player .facts').innerText();
      assert.match(text, /127\.0\.0\.1:\d+/);
      assert.match(text, /HTTP-FLV/);
      await page.getByText('Embed this stream').click();
      assert.match(await page.locator('#module').innerText(), /<crtmp-player stream="live\/event"/);
    }));

  it('goes on from another mirror when its own is killed, with the last picture until then', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    const hosts = [spare.url, cluster.mirrors[0].url];
    await at(site.page(cluster.stream, hosts), async (page) => {
      const was = await plays(page);
      assert.equal(was.stats.host, spare.url);
      const killed = Date.now();
      await spare.kill();
      const now = await until('pictures of another mirror', async () => {
        const f = await figures(page);
        assert.ok(f.shown && f.ready >= 2, 'there is a picture all the time');
        return f.stats?.host !== spare.url && f.stats?.decoded > 1 ? f : null;
      });
      const took = Date.now() - killed;
      assert.equal(now.stats.host, cluster.mirrors[0].url);
      const [change] = await told(page, 'switch');
      within('killed, another mirror’s picture', took, 3000);
      assert.equal(change.why, 'ended');
    });
    cluster.mirrors.pop();
  });

  it('goes past a mirror that failed when the page is loaded again, and forgives it after failureExpiry', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    const other = cluster.mirrors[0].url;
    const expiry = 15_000;
    await at(site.page(cluster.stream, [spare.url, other], `&failureExpiry=${expiry}`), async (page) => {
      assert.equal((await plays(page)).stats.host, spare.url);
      await spare.kill();
      await until('pictures of another mirror', async () => (await figures(page)).stats?.host === other);
      const failed = Date.now();
      await spare.start();
      await spare.live(cluster.stream);
      await until('it is kept', () => page.evaluate((url) => sessionStorage['crtmpserver-player:failed']?.includes(url), spare.url));
      await page.reload();
      assert.equal((await plays(page)).stats.host, other);
      const tried = await told(page, 'connect');
      // A machine so slow that the time has passed by then has shown nothing.
      if (Date.now() - failed < expiry) assert.deepEqual(tried.map((t) => t.host), [other], 'the one that failed is not asked');
      await until('time', () => Date.now() - failed > expiry);
      await page.reload();
      assert.equal((await plays(page)).stats.host, spare.url, 'the first one again');
    });
    await spare.kill();
    cluster.mirrors.pop();
  });

  it('leaves a mirror that falls silent', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    const hosts = [spare.url, cluster.mirrors[0].url];
    await at(site.page(cluster.stream, hosts), async (page) => {
      await plays(page);
      spare.process.signal('SIGSTOP');
      const stopped = Date.now();
      await until('pictures of another mirror', async () => {
        const f = await figures(page);
        return f.stats?.host === cluster.mirrors[0].url && f.stats.decoded > 1;
      });
      const took = Date.now() - stopped;
      within('silent, another mirror’s picture', took, 5000);
      assert.equal((await told(page, 'switch'))[0].why, 'stalled');
    });
    await spare.kill();
    cluster.mirrors.pop();
  });

  it('is led away from a mirror that is drained before it ends, without a gap', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    const url = site.page(cluster.stream, [spare.url, cluster.mirrors[0].url]);
    await at(url, async (page) => {
      await plays(page);
      assert.equal(await spare.viewers('flv'), 1);
      const drained = Date.now();
      spare.ctl('drain', '--deadline', '60s');
      const moved = await until('pictures of another mirror', async () => {
        const f = await figures(page);
        assert.ok(f.shown && f.ready >= 2, 'there is a picture all the time');
        assert.equal(f.state, 'playing', 'nobody has to be told');
        return f.stats?.host === cluster.mirrors[0].url && f.stats.decoded > 1 ? f : null;
      });
      within('drained, another mirror’s picture', Date.now() - drained, 1000);
      assert.ok(moved.time > 0);
      assert.equal((await told(page, 'switch'))[0].why, 'drain');
    });
    await until('nobody watches there', async () => (await spare.viewers('flv')) === 0);
    // Who comes now is sent on.
    await at(url, async (page) => {
      assert.equal((await plays(page)).stats.host, cluster.mirrors[0].url);
      assert.equal((await told(page, 'connectfailed'))[0].why, 'busy');
    });
    await spare.kill();
    cluster.mirrors.pop();
  });

  it('stays while the stream waits for its source, says so, and goes on', () =>
    at('/watch/live/event', async (page) => {
      const was = await plays(page);
      await cluster.encoder.kill();
      await says(page, /paused at its source/);
      await pause(4000); // longer than it would bear from a mirror that is silent
      assert.equal((await figures(page)).stats.host, was.stats.host);
      cluster.publish();
      await until('it goes on', async () => {
        const f = await figures(page);
        return f.state === 'playing' && f.time > was.time + 1;
      });
      assert.deepEqual(await told(page, 'switch'), []);
      const delay = await until('the live edge', async () => {
        const { stats } = await figures(page);
        return stats?.delay < 2 ? stats.delay : null;
      });
      assert.ok(delay < 2);
    }));

  /** Segments of the present run of the encoder in a mirror's playlist. */
  const segments = async (mirror) => {
    const top = new URL(`${mirror.url}/${cluster.stream}.m3u8`);
    const lines = async (url) => (await (await fetch(url)).text()).split('\n');
    const media = (await lines(top)).find((line) => line !== '' && !line.startsWith('#'));
    if (media === undefined) return 0;
    const list = await lines(new URL(media, top));
    return list.slice(list.lastIndexOf('#EXT-X-DISCONTINUITY') + 1).filter((line) => line.startsWith('#EXTINF')).length;
  };

  for (const protocol of ['hls', 'native']) {
    it(`plays over HLS (${protocol})`, async () => {
      // Chromium's own HLS does not begin with fewer; docs/hls.md. The encoder came back a moment ago.
      await until('three segments', async () => (await segments(cluster.mirrors[0])) >= 3);
      await at(site.page(cluster.stream, [cluster.mirrors[0].url], `&protocols=${protocol}`), async (page) => {
        const one = await plays(page, { pictures: 25 });
        assert.equal(one.stats.protocol, protocol);
        assert.deepEqual([one.stats.media.width, one.stats.media.height], [640, 360]);
        assert.ok(one.audio > 1000, `${one.audio} bytes of sound decoded`);
        const two = await plays(page, { pictures: one.stats.decoded + 50 });
        assert.ok(two.time > one.time + 1);
        await until('the picture’s clock', () => pictureNumber(page));
        assert.deepEqual(await told(page, 'switch'), []);
        assert.deepEqual(await told(page, 'connectfailed'), []);
      });
    });
  }

  it('changes mirrors over HLS', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    await at(site.page(cluster.stream, [spare.url, cluster.mirrors[0].url], '&protocols=hls'), async (page) => {
      assert.equal((await plays(page)).stats.host, spare.url);
      await spare.kill();
      const killed = Date.now();
      const moved = await until('pictures of another mirror', async () => {
        const f = await figures(page);
        return f.stats?.host === cluster.mirrors[0].url && f.stats.decoded > 1 ? f : null;
      });
      within('HLS, killed, another mirror’s picture', Date.now() - killed, 3000);
      assert.ok(moved.shown);
    });
    cluster.mirrors.pop();
  });

  it('is led away from a drained mirror over HLS too, without a list and without a gap', async () => {
    const spare = await cluster.add();
    await spare.live(cluster.stream);
    // Its first viewers, who are nearer to its live edge than they should be, wait once for a segment.
    await until('three segments', async () => (await segments(spare)) >= 3);
    await at(site.page(cluster.stream, [spare.url, cluster.mirrors[0].url], '&protocols=hls&embed'), async (page) => {
      assert.equal((await plays(page)).stats.host, spare.url);
      const seen = await record(page);
      spare.ctl('drain', '--deadline', '60s');
      await until('pictures of another mirror', async () => {
        const f = await figures(page);
        assert.ok(f.shown && f.ready >= 2, 'there is a picture all the time');
        return f.stats?.host === cluster.mirrors[0].url && f.stats.decoded > 1 ? f : null;
      });
      assert.equal((await told(page, 'switch'))[0].why, 'drain');
      await plays(page, { pictures: 25 });
      const pictures = await seen.stop();
      assert.ok(pictures.length > 25, `${pictures.length} pictures seen`);
      within('HLS, drained, one picture stood', longestStand(pictures), 1000);
    }, SCREEN);
    await spare.kill();
    cluster.mirrors.pop();
  });

  it('outlives every mirror it knew, and the list of its own page, as long as new ones come', async () => {
    const page = await visitable('/');
    const hosts = async () => (await figures(page)).stats?.mirrors ?? 0;
    const plays_not_on = (dead) => until('pictures of one that is alive', async () => {
      const f = await figures(page);
      const alive = f.stats && !dead.some((m) => m.url === f.stats.host);
      return alive && f.state === 'playing' && f.stats.decoded > 5 ? f.stats.host : null;
    });
    await plays(page);
    await until('all mirrors in its list', async () => (await hosts()) >= 2);
    const [first, second] = cluster.mirrors;
    await first.kill();
    await plays_not_on([first]);
    const third = await cluster.add();
    const begun = Date.now();
    // The page's own list is gone with its mirror: another mirror's says who is there.
    const listed = () => page.evaluate((url) => document.querySelector('crtmp-player').player.machine.hosts.list.some((h) => h.url === url), third.url);
    await until('the new mirror in its list', listed);
    console.log(`# a mirror that came is known to the page after ${Date.now() - begun} ms`);
    await third.live(cluster.stream);
    await second.kill();
    assert.equal(await plays_not_on([first, second]), third.url);
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  });
});
