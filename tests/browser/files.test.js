/** Media files in a browser: the list, the page of a file, its pictures, and seeking in parts. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { AXE, Server, browser, faults, killAll, logs, programme, until, visit } from './world.js';

describe('files', { concurrency: false, timeout: 300_000 }, () => {
  let chrome;
  let server;

  before(async () => {
    const folder = join(logs, 'media');
    mkdirSync(folder, { recursive: true });
    copyFileSync(programme, join(folder, 'film.flv'));
    for (const [name, options] of [['a film.mp4', []], ['parts.mp4', ['-movflags', '+frag_keyframe+empty_moov']]]) {
      const made = spawnSync('ffmpeg', ['-y', '-i', programme, '-c', 'copy', ...options, join(folder, name)]);
      assert.equal(made.status, 0);
    }
    const mp3 = spawnSync('ffmpeg', ['-y', '-i', programme, '-c:v', 'copy', '-c:a', 'libmp3lame', '-ar', '44100', join(folder, 'mp3.flv')]);
    assert.equal(mp3.status, 0);
    const old = spawnSync('ffmpeg', ['-y', '-i', programme, '-t', '2', '-c:v', 'flv1', '-an', join(folder, 'old.flv')]);
    assert.equal(old.status, 0);
    [server, chrome] = await Promise.all([
      Server.start('server', `[files]\nfolders = ["${folder}"]\n`), browser(),
    ]);
  });

  after(async () => {
    await chrome?.close();
    await killAll();
  });

  for (const name of ['a film.mp4', 'parts.mp4', 'film.flv', 'mp3.flv']) {
    it(`${name} is found in the list, plays, seeks and ends`, () => visit(chrome, `${server.url}/files`, {}, async (page) => {
      await page.getByLabel(`Play ${name}`).click();
      await page.waitForSelector('video');
      const of = (what) => page.evaluate((what) => document.querySelector('video')[what], what);
      await until('it knows its length', async () => Math.abs((await of('duration')) - 8) < 0.2);
      assert.equal(await of('controls'), false, 'the player has its own');
      const part = (name) => page.locator(`crtmp-file ${name}`);
      assert.match(await part('.time').innerText(), /^0:00 \/ 0:0[78]$/);
      await part('.big').click();
      await until('it plays', async () => (await of('currentTime')) > 0.5);
      assert.equal(await of('videoWidth'), 640);
      assert.equal(await part('.big').isVisible(), false);
      // As a finger on the bar does it.
      await part('.seek').evaluate((bar) => {
        bar.value = '6.5';
        for (const name of ['input', 'change']) bar.dispatchEvent(new Event(name));
      });
      await until('it plays on from there', async () => !(await of('seeking')) && (await of('currentTime')) > 6.6);
      await until('it ends', () => of('ended'));
      assert.equal(await of('error'), null);
      assert.ok((await of('webkitAudioDecodedByteCount')) > 0, 'it is heard');
      assert.match(await part('.time').innerText(), /^(0:0[78]) \/ \1$/);
      // And again, from the beginning.
      await part('.play').click();
      await until('it plays anew', async () => !(await of('ended')) && (await of('currentTime')) > 0.2);
    }));
  }

  it('its controls are for everybody: names, keys, nothing that cannot be read', () =>
    visit(chrome, `${server.url}/files/a%20film.mp4?play`, { before: (page) => page.addInitScript(AXE) }, async (page) => {
      const of = (what) => page.evaluate((what) => document.querySelector('video')[what], what);
      await until('it knows its length', async () => (await of('duration')) > 7);
      const names = [];
      for (let i = 0; i < 12; i++) {
        await page.keyboard.press('Tab');
        names.push(await page.evaluate(() => {
          let e = document.activeElement;
          while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
          return e ? (e.getAttribute('aria-label') ?? e.textContent).trim() : '';
        }));
      }
      for (const name of ['Play (k)', 'Sound off (m)', 'Volume', 'Position', 'Full screen (f)']) {
        assert.ok(names.includes(name), `${name} in ${names}`);
      }
      const bar = page.locator('crtmp-file .seek');
      await bar.focus();
      await page.keyboard.press('ArrowRight');
      await until('5 s on', async () => Math.abs((await of('currentTime')) - 5) < 0.1);
      assert.equal(await bar.getAttribute('aria-valuetext'), '0:05 of 0:08');
      await page.keyboard.press('Home');
      await until('at the beginning', async () => (await of('currentTime')) === 0);
      await page.keyboard.press('m');
      assert.equal(await of('muted'), true);
      await page.keyboard.press('k');
      await until('it plays', async () => (await of('currentTime')) > 0.2);
      await page.keyboard.press('k');
      assert.equal(await of('paused'), true);
      assert.deepEqual(await faults(page), [], 'the page of a file');
      await page.goto(`${server.url}/files`);
      assert.deepEqual(await faults(page), [], 'the list');
      await page.setViewportSize({ width: 360, height: 740 });
      for (const path of ['/files', '/files/film.flv?play']) {
        await page.goto(server.url + path);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${path}: ${wide} pixels too wide`);
      }
    }));

  it('what is in a file that no browser plays says so', async () => {
    assert.equal((await server.get('/files/nothing.mp4?play')).status, 404);
    await visit(chrome, `${server.url}/files/old.flv?play`, {}, async (page) => {
      await page.getByText('Browsers do not play what is in this file').waitFor();
    });
  });

  it('parts are given as they are asked for', async () => {
    const ask = (fields) => fetch(`${server.url}/files/film.flv`, { headers: fields });
    const whole = Buffer.from(await (await ask({})).arrayBuffer());
    const part = await ask({ Range: 'bytes=100-199' });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes 100-199/${whole.length}`);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), whole.subarray(100, 200));
    const tag = part.headers.get('etag');
    assert.equal((await ask({ 'If-None-Match': tag })).status, 304);
    assert.equal((await ask({ Range: 'bytes=0-9', 'If-Range': tag })).status, 206);
    assert.equal((await ask({ Range: 'bytes=0-9', 'If-Range': '"another"' })).status, 200);
    assert.equal((await ask({ Range: `bytes=${whole.length}-` })).status, 416);
    const indexed = (fields) => fetch(`${server.url}/files/film.flv?indexed`, { headers: fields });
    const other = await indexed({});
    assert.notEqual(other.headers.get('etag'), tag);
    const all = Buffer.from(await other.arrayBuffer());
    for (const [from, to] of [[0, 9], [10, 2000], [all.length - 10, all.length - 1]]) {
      const part = await indexed({ Range: `bytes=${from}-${to}` });
      assert.equal(part.headers.get('content-range'), `bytes ${from}-${to}/${all.length}`);
      assert.deepEqual(Buffer.from(await part.arrayBuffer()), all.subarray(from, to + 1));
    }
    const head = await fetch(`${server.url}/files/film.flv`, { method: 'HEAD' });
    assert.equal(Number(head.headers.get('content-length')), whole.length);
  });
});
