/** Media files in a browser: the list, the page of a file, its pictures, and seeking in parts. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Server, browser, killAll, logs, programme, until, visit } from './world.js';

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

  for (const name of ['a film.mp4', 'parts.mp4', 'film.flv']) {
    it(`${name} is found in the list, plays, seeks and ends`, () => visit(chrome, `${server.url}/files`, {}, async (page) => {
      await page.getByLabel(`Play ${name}`).click();
      await page.waitForSelector('video');
      const of = (what) => page.evaluate((what) => document.querySelector('video')[what], what);
      await until('it knows its length', async () => Math.abs((await of('duration')) - 8) < 0.2);
      await page.evaluate(() => {
        const video = document.querySelector('video');
        video.muted = true;
        return video.play();
      });
      await until('it plays', async () => (await of('currentTime')) > 0.5);
      assert.equal(await of('videoWidth'), 640);
      await page.evaluate(() => { document.querySelector('video').currentTime = 6.5; });
      await until('it plays on from there', async () => !(await of('seeking')) && (await of('currentTime')) > 6.6);
      await until('it ends', () => of('ended'));
      assert.equal(await of('error'), null);
    }));
  }

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
    const head = await fetch(`${server.url}/files/film.flv`, { method: 'HEAD' });
    assert.equal(Number(head.headers.get('content-length')), whole.length);
  });
});
