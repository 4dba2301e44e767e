/**
 * Measures what docs/player.md says of a viewer's waits: `node figures.js [ROUNDS]`, with TEST_BIN a release
 * build, on a machine that has nothing else to do. A machine of its own for each server is in apart.test.js.
 */
import { Cluster, browser, figures, hosted, killAll, open, pause, plays, told, until } from './world.js';

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

/** The longest time between two pictures on the screen from now on, as the browser shows them. */
const watchGaps = (page) => page.evaluate(() => {
  globalThis.gap = 0;
  let last = performance.now();
  for (const video of document.querySelector('crtmp-player').player.videos) {
    const shown = () => {
      if (video.classList.contains('shown')) {
        const now = performance.now();
        globalThis.gap = Math.max(globalThis.gap, now - last);
        last = now;
      }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }
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
      const page = await open(chrome, site.page(cluster.stream, [spare.url, stay.url], `&protocols=${protocol}`));
      await plays(page, { pictures: 50 });
      await watchGaps(page);
      const at = Date.now();
      await end(spare);
      await moved(page);
      note(`${protocol}, ${what}: another mirror’s picture after`, Date.now() - at);
      await pause(500);
      note(`${protocol}, ${what}: the picture stood for`, await page.evaluate(() => globalThis.gap));
      await page.context().close();
      await spare.kill();
      cluster.mirrors.pop();
    }
  }
}
for (const [what, all] of found) {
  const sorted = all.sort((a, b) => a - b);
  console.log(`${what.padEnd(54)} median ${String(sorted[sorted.length >> 1]).padStart(5)} ms, worst ${String(sorted.at(-1)).padStart(5)} ms`);
}
await chrome.close();
await site.close();
await killAll();
process.exit(0);
