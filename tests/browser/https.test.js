/** Pages over HTTPS, from mirrors that speak it themselves. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Cluster, browser, figures, freePort, killAll, plays, root, until, visit } from './world.js';

describe('pages over HTTPS', { concurrency: false, timeout: 300_000 }, () => {
  let chrome;
  let cluster;

  before(async () => {
    [cluster, chrome] = await Promise.all([Cluster.start(0), browser()]);
    const file = (end) => join(root, `tests/tls/server.${end}`);
    for (let n = 0; n < 2; n++) {
      const port = await freePort();
      const mirror = await cluster.add(
        `[tls]\ncertificate = "${file('pem')}"\nkey = "${file('key')}"\n`,
        `https = ["127.0.0.1:${port}"]`,
      );
      mirror.https = `https://127.0.0.1:${port}`;
      await mirror.live(cluster.stream);
    }
    await until('both are in the list', async () => {
      const list = await (await cluster.mirrors[0].get('/cluster.json')).text();
      return cluster.mirrors.every((m) => list.includes(m.https));
    });
  });

  after(async () => {
    await chrome?.close();
    await killAll();
  });

  // Nobody vouches for the certificate of the tests but the tests.
  const trusting = { ignoreHTTPSErrors: true };

  it('everything comes over HTTPS, HLS too', async () => {
    for (const more of ['', '?protocols=hls']) {
      const plain = [];
      const listen = (page) => page.on('request', (r) => r.url().startsWith('http:') && plain.push(r.url()));
      const options = { ...trusting, before: listen };
      await visit(chrome, `${cluster.mirrors[0].https}/watch/${cluster.stream}${more}`, options, async (page) => {
        const { stats } = await plays(page);
        assert.match(stats.host, /^https:/);
        const links = await page.locator('a[href$=".flv"], a[href$=".m3u8"]').evaluateAll((all) => all.map((a) => a.href));
        assert.ok(links.length > 0 && links.every((link) => link.startsWith('https:')), `${links}`);
      });
      assert.deepEqual(plain, []);
    }
  });

  it('when its mirror dies it goes on from another, over HTTPS', () => visit(chrome, `${cluster.mirrors[0].https}/watch/${cluster.stream}`, trusting, async (page) => {
    const before = await plays(page);
    const [from] = cluster.mirrors.filter((m) => m.https === before.stats.host);
    await from.kill();
    const now = await until('it plays from the other', async () => {
      const f = await figures(page);
      return f?.stats && f.stats.host !== before.stats.host && f.stats.decoded > 10 ? f : null;
    });
    assert.match(now.stats.host, /^https:/);
  }));
});
