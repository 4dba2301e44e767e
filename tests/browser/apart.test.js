/** Master, mirrors and viewers on machines of their own, one of which is cut off without a word. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Network, lacking } from './machines.js';
import { binary, browser, chromium, figures, folderOf, killAll, logs, open, pictureNumber, plays, told, until, within } from './world.js';

const STREAM = 'live/event';

describe('apart', { concurrency: false, timeout: 600_000, skip: lacking() }, () => {
  let network;
  let mirrors;
  let master;
  let viewers;
  let chrome;
  let folder;

  before(async () => {
    network = new Network();
    master = network.machine('master');
    mirrors = [1, 2, 3].map((n) => network.machine(`mirror-${n}`));
    viewers = network.machine('viewers');
    const secret = join(logs, 'secret');
    spawnSync(binary, ['secret', secret]);
    master.serve(`role = "master"\n[publish]\nnetworks = ["loopback"]\n[master]\nsecret_file = "${secret}"\n`);
    for (const mirror of mirrors) {
      mirror.serve(`role = "mirror"\n[mirror]\nmaster = "rtmp://${master.address}"\nsecret_file = "${secret}"\n`);
    }
    // Its pages are for listed networks; the end of the wait is that the mirrors have what it got.
    await until('the master listens', () => spawnSync('nsenter', [...master.enter, 'bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/1935']).status === 0);
    master.publish(STREAM);
    for (const mirror of mirrors) await mirror.live(STREAM);
    chrome = await browser(undefined, viewers.wrap(chromium));
    folder = folderOf('apart');
  });

  after(async () => {
    await chrome?.close();
    await killAll();
    network?.end();
  });

  /** The hosts in a mirror's list, as a viewer gets it. */
  const listed = async (mirror) => JSON.parse((await viewers.get(`${mirror.url}/cluster.json`)) ?? '{"hosts":[]}').hosts.map((h) => h.http).sort();

  const all = () => mirrors.map((m) => m.url).sort();

  /** The static page, which comes from nowhere: no machine's end takes it away. */
  const site = async (page) => {
    await page.route('http://site.example/**', (route) => {
      const { pathname } = new URL(route.request().url());
      const name = pathname === '/' ? 'index.html' : pathname.slice(1);
      const type = { js: 'text/javascript', css: 'text/css', html: 'text/html' }[name.split('.').pop()];
      return route.fulfill({ body: readFileSync(join(folder, name)), contentType: type ?? 'text/plain' });
    });
  };

  it('every mirror lists all of them by the addresses they have', async () => {
    for (const mirror of mirrors) {
      await until('three hosts', async () => (await listed(mirror)).join() === all().join());
    }
  });

  for (const protocol of ['flv', 'hls']) {
    it(`a mirror that is cut off without a word is left, and is one of them again later (${protocol})`, async () => {
      const [, second, third] = mirrors;
      // The list is the first mirror's, then any other's: the first one is to be cut off in one of two runs.
      const gone = protocol === 'flv' ? mirrors[0] : second;
      const stay = mirrors.filter((m) => m !== gone);
      const hosts = [gone.url, ...stay.map((m) => m.url)];
      const page = await open(chrome, `http://site.example/?stream=${STREAM}&hosts=${encodeURIComponent(hosts.join(' '))}&protocols=${protocol}`, { before: site });
      // And one on the mirror's own page, which knows the others by the list alone.
      const own = await open(chrome, `${gone.url}/watch/${STREAM}`);
      const first = await plays(page);
      assert.equal(first.stats.host, gone.url);
      await plays(own);
      await until('the others in its list', () => own.evaluate(() => document.querySelector('crtmp-player').player.machine.hosts.list.length === 3));

      gone.cut();
      const cut = Date.now();
      const now = await until('pictures of another mirror', async () => {
        const f = await figures(page);
        assert.ok(f.shown && f.ready >= 2, 'there is a picture all the time');
        return f.stats?.host !== gone.url && f.stats?.decoded > 1 ? f : null;
      });
      within(`cut off, pictures of another mirror (${protocol})`, Date.now() - cut, 5000);
      assert.ok(stay.some((m) => m.url === now.stats.host), now.stats.host);
      const [change] = await told(page, 'switch');
      console.log(`# no new picture for ${Math.round(change.ms)} ms, because: ${change.why}`);
      assert.deepEqual([change.from, change.to], [gone.url, now.stats.host]);
      assert.match(change.why, /stalled|timeout/);
      await plays(page, { pictures: 25 });
      await until('the picture’s clock', () => pictureNumber(page));
      await until('the live edge', async () => {
        const { stats } = await figures(page);
        return stats?.delay < (protocol === 'flv' ? 2 : 7);
      });
      // The page of the mirror that is gone goes on, wherever it had its picture from.
      await until('the mirror’s own page plays', async () => {
        const f = await figures(own);
        return f.state === 'playing' && f.stats && f.stats.host !== gone.url && f.stats.decoded > 5;
      });
      await until('it is in no list', async () => {
        for (const mirror of stay) if ((await listed(mirror)).includes(gone.url)) return false;
        return true;
      });
      await until('nor in the page’s', () =>
        own.evaluate((url) => !document.querySelector('crtmp-player').player.machine.hosts.list.some((h) => h.url === url), gone.url));

      gone.mend();
      for (const mirror of [gone, second, third]) await until('it is back in every list', async () => (await listed(mirror)).join() === all().join());
      await gone.live(STREAM);
      // Who comes now may have it; who watches elsewhere is left in peace.
      assert.equal((await told(page, 'switch')).length, 1);
      assert.deepEqual(page.wrong, []);
      await page.context().close();
      await own.context().close();
    });
  }
});
