/**
 * What the browser tests stand on: servers, an encoder, a browser, and waiting with a limit.
 *
 * Programs come from outside: TEST_BIN is the server, TEST_LOGS the folder for logs. Whatever was
 * started ends with the tests.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createWeb } from 'node:http';
import { createServer } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateSync } from 'node:zlib';

import { chromium as driver } from 'playwright-core';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const binary = process.env.TEST_BIN ?? join(root, 'target/debug/crtmpserver');
/** Each file of tests has a folder, so that several may run at once. */
export const logs = join(process.env.TEST_LOGS ?? join(root, 'target/test-logs/browser'), basename(process.argv[1] ?? 'x', '.test.js'));
export const programme = join(root, 'src/demo/programme.flv');
mkdirSync(logs, { recursive: true });

/** How long anything may take that should take a moment, ms; the machine may be busy. */
export const PATIENCE = 30_000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until there is an answer that is not null, false or undefined. */
export async function until(what, ask, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false && answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`waited ${patience} ms in vain: ${what}`);
    await pause(20);
  }
}

/**
 * Holds a time to what was promised; on a machine that may be busy with other things, only roughly.
 * TEST_STRICT=1 is for a machine that is not.
 */
export function within(what, took, promised) {
  console.log(`# ${what}: ${Math.round(took)} ms, of ${promised} promised`);
  const limit = process.env.TEST_STRICT === '1' ? promised : promised * 5;
  if (took > limit) throw new Error(`${what}: ${took} ms, of ${promised} promised`);
}

/** A port that nobody has. */
export function freePort() {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

const children = new Set();
// A run that is cut off leaves nothing behind.
process.once('exit', () => children.forEach((c) => c.child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** A child process, which ends with the tests. */
export class Child {
  constructor(name, program, args) {
    const out = openSync(join(logs, `${name}.log`), 'a');
    this.name = name;
    this.child = spawn(program, args, { stdio: ['ignore', out, out] });
    this.ended = new Promise((done) => this.child.once('exit', done));
    this.child.once('error', () => {});
    children.add(this);
  }

  signal(name) {
    this.child.kill(name);
  }

  /** Ends it at once. */
  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGCONT');
      this.child.kill('SIGKILL');
      await this.ended;
    }
    children.delete(this);
  }
}

export async function killAll() {
  await Promise.all([...children].map((c) => c.kill()));
}

/** Our server with a configuration. */
export class Server {
  /** `more` are further lines of `[listen]`. */
  constructor(name, rtmp, http, keys, more = '') {
    this.name = name;
    this.rtmp = rtmp;
    this.http = http;
    this.url = `http://127.0.0.1:${http}`;
    this.file = join(logs, `${name}.toml`);
    this.control = join(logs, `${name}.sock`);
    const listen = `[listen]\nrtmp = ["127.0.0.1:${rtmp}"]\nhttp = ["127.0.0.1:${http}"]\ncontrol = "${this.control}"\n${more}\n`;
    const [top, rest] = keys.includes('[') ? [keys.slice(0, keys.indexOf('[')), keys.slice(keys.indexOf('['))] : [keys, ''];
    writeFileSync(this.file, `${top}\n${listen}${rest}`);
  }

  static async start(name, keys, more) {
    const server = new Server(name, await freePort(), await freePort(), keys, more);
    await server.start();
    return server;
  }

  async start() {
    const root = process.getuid?.() === 0 ? ['--allow-root'] : [];
    this.process = new Child(this.name, binary, [...root, this.file]);
    await until(`${this.name} is ready`, () => this.get('/healthz').then((a) => a.status === 200, () => false));
    return this;
  }

  get(path) {
    return fetch(this.url + path, { signal: AbortSignal.timeout(5000) });
  }

  async viewers(protocol) {
    const text = await (await this.get('/metrics')).text();
    const line = text.split('\n').find((l) => l.startsWith('crtmpserver_viewers') && l.includes(protocol));
    return Number(line?.split(' ').pop() ?? 0);
  }

  async live(stream) {
    await until(`${stream} is live on ${this.name}`, async () => {
      const page = await this.get(`/watch/${stream}`).then((a) => a.text(), () => '');
      return page.includes('>live</b>');
    });
  }

  /** `crtmpserver ctl` on it. */
  ctl(...verb) {
    const done = spawnSync(binary, ['ctl', '--socket', this.control, ...verb], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`ctl ${verb.join(' ')}: ${done.stderr}`);
    return done.stdout;
  }

  kill() {
    return this.process.kill();
  }
}

/** An encoder that sends the demo's programme in a loop. */
export function publish(name, server, stream) {
  const url = `rtmp://127.0.0.1:${server.rtmp}/${stream}`;
  return new Child(name, 'ffmpeg', [
    '-hide_banner', '-loglevel', 'warning', '-re', '-stream_loop', '-1', '-i', programme, '-t', '900', '-c', 'copy', '-f', 'flv', url,
  ]);
}

/** A master, its mirrors, and an encoder that sends the demo's programme in a loop. */
export class Cluster {
  constructor() {
    this.mirrors = [];
    this.stream = 'live/event';
  }

  static async start(mirrors) {
    const cluster = new Cluster();
    cluster.secret = join(logs, 'secret');
    const made = spawnSync(binary, ['secret', cluster.secret]);
    if (made.error) throw made.error;
    cluster.master = await Server.start(
      'master',
      `role = "master"\n[publish]\nnetworks = ["loopback"]\n[master]\nsecret_file = "${cluster.secret}"\n[play]\nnetworks = ["loopback"]\n`,
    );
    for (let n = 1; n <= mirrors; n++) await cluster.add();
    cluster.publish();
    for (const mirror of cluster.mirrors) await mirror.live(cluster.stream);
    return cluster;
  }

  /** One more mirror; `keys` and `listen` are further lines of its configuration. */
  async add(keys = '', listen = '') {
    const mirror = await Server.start(
      `mirror-${this.mirrors.length + 1}`,
      `role = "mirror"\n[mirror]\nmaster = "rtmp://127.0.0.1:${this.master.rtmp}"\nsecret_file = "${this.secret}"\n${keys}`,
      listen,
    );
    this.mirrors.push(mirror);
    return mirror;
  }

  publish() {
    this.encoder = publish('encoder', this.master, this.stream);
  }

  hosts() {
    return this.mirrors.map((m) => m.url);
  }
}

/** The static folder of the player, made anew. */
export function folderOf(name) {
  const folder = join(logs, name);
  const built = spawnSync(process.execPath, [join(root, 'player/build.mjs'), folder], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`the player is not built: ${built.stderr}`);
  return folder;
}

/** The static folder of the player, and a small web server that hosts it, on an address of its own. */
export async function hosted(files = {}) {
  const folder = folderOf('dist');
  const types = { js: 'text/javascript', css: 'text/css', html: 'text/html', json: 'application/json' };
  const server = createWeb((request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    const file = join(folder, name);
    const made = files[pathname];
    if (made === undefined && (name.includes('..') || !existsSync(file))) return response.writeHead(404).end();
    const type = { 'Content-Type': types[name.split('.').pop()] ?? 'text/plain', 'Access-Control-Allow-Origin': '*' };
    response.writeHead(200, type).end(made === undefined ? readFileSync(file) : typeof made === 'function' ? made() : made);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    folder,
    files,
    url: `http://127.0.0.1:${server.address().port}`,
    page(stream, hosts, more = '') {
      return `${this.url}/?stream=${stream}&hosts=${encodeURIComponent(hosts.join(' '))}${more}`;
    },
    close: () => new Promise((done) => {
      server.closeAllConnections?.();
      server.close(done);
    }),
  };
}

export const chromium = process.env.TEST_CHROMIUM ?? '/usr/bin/chromium';

/** A browser; `policy` says what may play by itself. */
export function browser(policy = 'no-user-gesture-required', executablePath = chromium) {
  return driver.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--mute-audio', `--autoplay-policy=${policy}`],
  });
}

/** A page that keeps what went wrong in it, and what its player told. */
export async function open(chrome, url, options = {}) {
  const { before, ...rest } = options;
  const context = await chrome.newContext({ viewport: { width: 1000, height: 760 }, ...rest });
  const page = await context.newPage();
  page.wrong = [];
  page.on('pageerror', (e) => page.wrong.push(String(e)));
  page.on('console', (m) => {
    // A mirror that died is a failure of the network, which the browser notes by itself.
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) page.wrong.push(m.text());
  });
  await page.addInitScript(() => {
    globalThis.told = [];
    for (const name of ['connect', 'connectfailed', 'failed', 'switch', 'state']) {
      document.addEventListener(name, (e) => globalThis.told.push({ name, at: performance.now(), ...e.detail }), true);
    }
    document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`));
  });
  if (before) await before(page, context);
  await page.goto(url);
  return page;
}

/** Opens a page, and closes it whatever happens; nothing may have gone wrong in it. */
export async function visit(chrome, url, options, todo) {
  const page = await open(chrome, url, options);
  try {
    await todo(page);
  } catch (error) {
    await page.screenshot({ path: join(logs, 'failed.png'), caret: 'initial' }).catch(() => {});
    const said = await page.evaluate(() => JSON.stringify(globalThis.told)).catch(() => '');
    error.message += `\nthe page told: ${said}\nwrong in the page: ${page.wrong.join('; ')}`;
    throw error;
  } finally {
    await page.context().close();
  }
  if (page.wrong.length > 0) throw new Error(`wrong in the page: ${page.wrong.join('; ')}`);
}

/** The sentence that the player shows. */
export function says(page, words) {
  return until(`the sentence ${words}`, async () => {
    const text = await page.locator('crtmp-player [role=status]').innerText();
    return words.test(text) ? text : null;
  });
}

/** Figures of the player of a page, or of a frame in it. */
export function figures(page) {
  return page.evaluate(() => {
    const { player } = document.querySelector('crtmp-player') ?? {};
    if (!player) return null;
    const { video } = player;
    return {
      state: player.state,
      time: video.currentTime,
      shown: video.classList.contains('shown'),
      ready: video.readyState,
      audio: video.webkitAudioDecodedByteCount,
      muted: video.muted,
      stats: player.stats(),
    };
  });
}

/** The picture moves: the figures, once so many pictures are decoded and time has passed. */
export async function plays(page, { pictures = 10, patience = PATIENCE } = {}) {
  const first = await until('a picture', async () => {
    const f = await figures(page);
    return f?.shown && f.time > 0 && f.stats ? f : null;
  }, patience);
  return until('it moves', async () => {
    const f = await figures(page);
    if (!f?.stats || f.stats.host !== first.stats.host) return f?.stats ? f : null;
    return f.stats.decoded >= pictures && f.time > first.time ? f : null;
  }, patience);
}

/** What the page's player told, of one kind. */
export function told(page, name) {
  return page.evaluate((n) => globalThis.told.filter((t) => t.name === n), name);
}

/** The pixels of a PNG of 8 bits a channel without interlace, which is what a browser makes. */
export function pixels(png) {
  let at = 8;
  let width = 0;
  let height = 0;
  let channels = 4;
  const parts = [];
  while (at < png.length) {
    const size = png.readUInt32BE(at);
    const kind = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + size);
    if (kind === 'IHDR') {
      width = data.readUInt32BE(0);
      height = data.readUInt32BE(4);
      channels = data[9] === 6 ? 4 : 3;
    } else if (kind === 'IDAT') {
      parts.push(data);
    }
    at += 12 + size;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const line = width * channels;
  const out = Buffer.alloc(line * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (line + 1)];
    for (let x = 0; x < line; x++) {
      const value = raw[y * (line + 1) + 1 + x];
      const left = x >= channels ? out[y * line + x - channels] : 0;
      const up = y > 0 ? out[(y - 1) * line + x] : 0;
      const corner = x >= channels && y > 0 ? out[(y - 1) * line + x - channels] : 0;
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[y * line + x] = (value + predicted) & 255;
    }
  }
  return { width, height, red: (x, y) => out[Math.floor(y) * line + Math.floor(x) * channels] };
}

function paeth(a, b, c) {
  const p = a + b - c;
  const [da, db, dc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  if (da <= db && da <= dc) return a;
  return db <= dc ? b : c;
}

/** The number that the programme's picture shows in its bottom row (src/demo/make-programme.sh); null when there is none. */
function numberIn(shot) {
  const y = (shot.height * 340) / 360;
  const bits = Array.from({ length: 10 }, (_, i) => shot.red(((i + 0.5) * shot.width) / 10, y));
  if (bits.some((b) => b > 90 && b < 165)) return null;
  const [first, ...rest] = bits.map((b) => (b > 127 ? 1 : 0));
  const ones = rest.reduce((a, b) => a + b, 0);
  if (first !== 1 || ones % 2 !== 1) return null;
  return rest.slice(0, 8).reduce((n, b) => n * 2 + b, 0);
}

/** The number of the picture that is on the screen, read from a screenshot; null when there is none. */
export async function pictureNumber(page) {
  const element = page.locator('crtmp-player');
  // The controls would lie over it.
  await page.mouse.move(1, 1);
  await page.evaluate(() => document.querySelector('crtmp-player').root.querySelector('.all').classList.remove('awake'));
  const clip = await element.boundingBox();
  // A caret that is hidden would be a style of its own, which the page's policy forbids.
  return numberIn(pixels(await page.screenshot({ clip, caret: 'initial' })));
}

/** A screen of the picture's size: a page with `embed` has nothing else on it. */
export const SCREEN = { viewport: { width: 640, height: 360 } };

/**
 * Records what is on the screen from now on, as the browser puts it together: what a viewer sees, whichever
 * element it comes from. For a page that is nothing but the player ({@link SCREEN}, `embed`). The answer's
 * `stop` gives the pictures' numbers with the times (ms) at which each was first there.
 */
export async function record(page) {
  await page.evaluate(() => {
    // What lies over the picture would hide its number.
    for (const part of document.querySelector('crtmp-player').root.querySelectorAll('.dim, .say, .bar, .sound')) part.style.display = 'none';
  });
  const session = await page.context().newCDPSession(page);
  const shots = [];
  session.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    shots.push({ at: metadata.timestamp * 1000, data });
    session.send('Page.screencastFrameAck', { sessionId }).catch(() => {});
  });
  await session.send('Page.startScreencast', { format: 'png', maxWidth: 160, maxHeight: 90, everyNthFrame: 1 });
  return {
    async stop() {
      await session.send('Page.stopScreencast');
      await session.detach();
      const seen = [];
      for (const { at, data } of shots) {
        const number = numberIn(pixels(Buffer.from(data, 'base64')));
        if (number !== null && number !== seen.at(-1)?.number) seen.push({ at, number });
      }
      return seen;
    },
  };
}

/** The longest that one picture of those recorded stood, ms. */
export function longestStand(seen) {
  return seen.slice(1).reduce((longest, { at }, i) => Math.max(longest, at - seen[i].at), 0);
}

/** For pages that are to be looked at by {@link faults}. */
export const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** What axe finds against the rules of WCAG 2.2 (A and AA) and good practice, as lines. */
export async function faults(page, rules = {}) {
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    rules: { 'target-size': { enabled: true }, ...rules },
  }), rules);
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.flat(3).join(' ')}: ${n.failureSummary}`));
}
