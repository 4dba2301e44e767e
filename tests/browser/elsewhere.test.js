/** The player on other pages and other web servers, and the spread of many viewers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { chiSquared } from '../../player/test/tools.js';
import { Child, Cluster, browser, freePort, hosted, killAll, logs, plays, root, until, visit } from './world.js';

const NGINX = '/usr/sbin/nginx';

describe('elsewhere', { concurrency: false, timeout: 900_000 }, () => {
  let chrome;
  let cluster;
  let site;

  before(async () => {
    [cluster, chrome, site] = await Promise.all([Cluster.start(4), browser(), hosted()]);
  });

  after(async () => {
    await chrome?.close();
    await site?.close();
    await killAll();
  });

  it('plays from a folder that nginx hosts', { skip: !existsSync(NGINX) && 'nginx is not installed' }, async () => {
    const port = await freePort();
    const work = join(logs, 'nginx');
    mkdirSync(work, { recursive: true });
    chmodSync(work, 0o777);
    const user = process.getuid?.() === 0 ? 'user root;' : '';
    writeFileSync(
      join(work, 'nginx.conf'),
      `${user} daemon off; master_process off; pid ${work}/pid; error_log ${work}/error.log; worker_processes 1; events {}
http {
  include /etc/nginx/mime.types; access_log off;
  client_body_temp_path ${work}/b; proxy_temp_path ${work}/p; fastcgi_temp_path ${work}/f; uwsgi_temp_path ${work}/u; scgi_temp_path ${work}/s;
  server { listen 127.0.0.1:${port}; root ${site.folder}; index index.html; }
}`,
    );
    const nginx = new Child('nginx', NGINX, ['-c', join(work, 'nginx.conf'), '-p', work]);
    const url = `http://127.0.0.1:${port}`;
    await until('nginx answers', () => fetch(url).then((a) => a.ok, () => false));
    const list = `${cluster.mirrors[0].url}/cluster.json`;
    await visit(chrome, `${url}/?stream=${cluster.stream}&hosts=${list}`, {}, async (page) => {
      const f = await plays(page);
      assert.ok(cluster.hosts().includes(f.stats.host), f.stats.host);
    });
    await nginx.kill();
  });

  it('plays in a page of another origin, as a frame and as an element, with what the page tells', async () => {
    const from = `${cluster.mirrors[0].url}/watch/${cluster.stream}`;
    const snippets = {};
    await visit(chrome, from, {}, async (page) => {
      await page.getByText('Embed this stream').click();
      for (const id of ['frame', 'module']) snippets[id] = await page.locator(`#${id}`).innerText();
    });
    site.files['/frame.html'] = `<!doctype html><title>x</title>${snippets.frame}`;
    await visit(chrome, `${site.url}/frame.html`, {}, async (page) => {
      const frame = await until('the frame', () => page.frames().find((f) => f.url().includes('embed')));
      await plays(frame);
    });
    site.files['/module.html'] = `<!doctype html><title>x</title>${snippets.module}`;
    await visit(chrome, `${site.url}/module.html`, {}, (page) => plays(page));
  });

  it('is a module for programs, as its document shows it, with every event', async () => {
    const document = readFileSync(join(root, 'docs/player.md'), 'utf8');
    const [, example] = /```js\n([\s\S]*?)```/.exec(document);
    const [first, second] = cluster.hosts();
    const program = example
      .replaceAll('http://mirror1.example.org:8080', first)
      .replace('https://www.example.org/cluster.json', `${site.url}/cluster.json`)
      .replace('onSwitch:', `connectTimeout: 5000, loadBalance: false,
        onConnect: (...a) => told('connect', a), onConnectFailed: (...a) => told('connectFailed', a),
        onFailed: (...a) => told('failed', a), onStats: (...a) => told('stats', a), onState: (...a) => told('state', a),
        onSwitch:`);
    const refused = `http://127.0.0.1:${await freePort()}`;
    site.files['/cluster.json'] = JSON.stringify({ hosts: [{ http: refused }, { http: second }] });
    site.files['/program.html'] = `<!doctype html><title>x</title><div id="box" style="position:relative;width:640px;height:360px"></div>
      <script>globalThis.all = []; function told(name, values) { all.push([name, ...values]); }</script>
      <script type="module">${program}; globalThis.player = player;</script>`;
    await visit(chrome, `${site.url}/program.html`, {}, async (page) => {
      await until('figures', () => page.evaluate(() => globalThis.player?.stats()?.decoded > 10 && all.some(([n]) => n === 'stats')));
      const all = await page.evaluate(() => globalThis.all);
      const of = (name) => all.filter(([n]) => n === name).map(([, ...values]) => values);
      assert.deepEqual(of('connect'), [[refused, 0], [second, 1]]);
      const [[host, index, why]] = of('connectFailed');
      assert.deepEqual([host, index, why], [refused, 0, 'refused']);
      assert.deepEqual(of('failed'), []);
      const [stats] = of('stats').at(-1);
      assert.equal(stats.host, second);
      for (const name of ['protocol', 'delay', 'decoded', 'dropped', 'kbits', 'media', 'switches']) assert.ok(name in stats, name);
      assert.deepEqual(of('state').at(-1), ['playing', '']);
      await page.evaluate(() => globalThis.player.destroy());
      assert.equal(await page.evaluate(() => document.querySelectorAll('#box video').length), 0);
    });
  });

  it('is a package with types', async () => {
    const folder = join(logs, 'consumer');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const sh = (program, args, cwd) => {
      const done = spawnSync(program, args, { cwd, encoding: 'utf8' });
      assert.equal(done.status, 0, `${program} ${args.join(' ')}: ${done.stdout}${done.stderr}`);
      return done.stdout;
    };
    const packed = sh('npm', ['pack', '--silent', '--pack-destination', folder], join(root, 'player')).trim().split('\n').pop();
    const home = join(folder, 'node_modules/crtmpserver-player');
    mkdirSync(home, { recursive: true });
    sh('tar', ['-xzf', join(folder, packed), '-C', home, '--strip-components=1']);
    writeFileSync(
      join(folder, 'page.ts'),
      `import { CrtmpPlayer, OptionError, Player, type Options, type Stats } from 'crtmpserver-player';
const options: Options = { stream: 'live/event', hosts: ['http://a.example:8080', { host: 'http://b.example', weight: 2 }], connectCount: 3,
  onSwitch: (from, to, why, ms) => console.log(from.length + to.length + why.length + ms) };
const player = new Player(document.body, options);
const stats: Stats | null = player.stats();
const host: string | undefined = stats?.host;
// @ts-expect-error there is no such option
const wrong: Options = { stream: 'live/event', connectTimeOut: 1 };
export { CrtmpPlayer, OptionError, host, wrong };
`,
    );
    sh(process.execPath, [join(root, 'player/node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--module', 'esnext',
      '--moduleResolution', 'bundler', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '', 'page.ts'], folder);
  });

  it('400 page loads are spread evenly over four mirrors', async () => {
    const hosts = cluster.hosts();
    const counts = hosts.map(() => 0);
    // Without a picture, which would take the time of a picture each.
    const context = await chrome.newContext();
    await context.route('**/*.flv', () => {});
    const page = await context.newPage();
    let note = () => {};
    await page.exposeFunction('note', (host) => note(host));
    await page.addInitScript(() => {
      sessionStorage.clear(); // each is somebody else
      document.addEventListener('connect', (e) => globalThis.note(e.detail.host), { capture: true, once: true });
    });
    // One mirror's page; its list names all four, with equal weights as long as nobody watches.
    await until('four mirrors in the list', async () => (await (await cluster.mirrors[0].get('/cluster.json')).json()).hosts.length === 4);
    const url = `${hosts[0]}/watch/${cluster.stream}`;
    for (let i = 0; i < 400; i++) {
      const first = new Promise((done) => (note = done));
      await page.goto(url, { waitUntil: 'commit' });
      const host = await first;
      counts[hosts.indexOf(host)] += 1;
    }
    await context.close();
    const { x, p } = chiSquared(counts, [1, 1, 1, 1]);
    console.log(`# 400 page loads over four mirrors: ${counts.join(', ')}; chi-squared ${x.toFixed(2)}, p = ${p.toFixed(3)}`);
    // One run in 100,000 fails by chance; the plugin's rounding would fail all but one in a million.
    assert.ok(p > 0.00001, `${counts}: p = ${p}`);
  });
});
