/**
 * Measures what docs/player.md says of a viewer's waits: `node figures.js [ROUNDS]`, with TEST_BIN a release
 * build, on a machine that has nothing else to do. A machine of its own for each server is in apart.test.js.
 */
import { Cluster, SCREEN, browser, figures, hosted, killAll, longestStand, open, pause, plays, record, told, until } from './world.js';

const rounds = Number(process.argv[2] ?? 5);
const [cluster, chrome, site] = await Promise.all([Cluster.start(2), browser(), hosted()]);
const [stay] = cluster.mirrors;
const found = new Map();
const note = (what, ms) => found.set(what, [...(found.get(what) ?? []), Math.round(ms)]);

/** Until pictures of the other mirror are on the screen. */
const moved = (page) => until('pictures of another mirror', async () => {
  const f = await figures(page);
  return f.shown && f.stats?.host === stay.url && f.stats.decoded > 1;
});

const playingAt = async (page) => {
  await plays(page, { pictures: 1 });
  return (await told(page, 'state')).find((s) => s.state === 'playing').at;
};

await pause(8000); // segments enough
for (let round = 0; round < rounds; round++) {
  for (const [way, url] of [
    ['the start page', `${stay.url}/`],
    ['HLS (hls.js)', site.page(cluster.stream, [stay.url], '&protocols=hls')],
    ['HLS (the browser’s own)', site.page(cluster.stream, [stay.url], '&protocols=native')],
  ]) {
    const page = await open(chrome, url);
    note(`first picture: ${way}`, await playingAt(page));
    await page.context().close();
  }
  for (const protocol of ['flv', 'hls']) {
    for (const [which, mirror] of [['', stay], [', of a mirror that began just now', null]]) {
      const from = mirror ?? (await cluster.add());
      await from.live(cluster.stream);
      const page = await open(chrome, site.page(cluster.stream, [from.url], `&protocols=${protocol}&embed`), SCREEN);
      await plays(page, { pictures: 1 });
      const seen = await record(page);
      await pause(10_000);
      note(`${protocol}, nothing happens${which}: the picture stood for`, longestStand(await seen.stop()));
      await page.context().close();
      if (mirror === null) {
        await from.kill();
        cluster.mirrors.pop();
      }
    }
    for (const [what, end] of [
      ['killed', (m) => m.kill()],
      ['silent', (m) => m.process.signal('SIGSTOP')],
      ['drained', (m) => m.ctl('drain', '--deadline', '60s')],
    ]) {
      const begun = Date.now();
      const spare = await cluster.add();
      if (protocol === 'flv' && what === 'killed') {
        await until('the new mirror in the list', async () =>
          (await (await stay.get('/cluster.json')).json()).hosts.some((h) => h.http === spare.url));
        note('a mirror started is in another’s list', Date.now() - begun);
      }
      await spare.live(cluster.stream);
      // Over HLS its first viewers have it catch up once: that has a line of its own.
      if (protocol === 'hls') await pause(9000);
      const page = await open(chrome, site.page(cluster.stream, [spare.url, stay.url], `&protocols=${protocol}&embed`), SCREEN);
      await plays(page, { pictures: 50 });
      const seen = await record(page);
      await pause(200);
      const at = Date.now();
      await end(spare);
      await moved(page);
      note(`${protocol}, ${what}: another mirror’s picture after`, Date.now() - at);
      await pause(2000);
      note(`${protocol}, ${what}: the picture stood for`, longestStand(await seen.stop()));
      await page.context().close();
      await spare.kill();
      cluster.mirrors.pop();
    }
  }
}
for (const [what, all] of found) {
  const sorted = all.sort((a, b) => a - b);
  console.log(`${what.padEnd(72)} median ${String(sorted[sorted.length >> 1]).padStart(5)} ms, worst ${String(sorted.at(-1)).padStart(5)} ms`);
}
await chrome.close();
await site.close();
await killAll();
process.exit(0);
