/** What people see: without a mouse, without sound, without a network, without what the player needs. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { AXE, Cluster, Server, browser, faults, figures, freePort, hosted, killAll, plays, publish, says, told, until, visit } from './world.js';

describe('people', { concurrency: false, timeout: 600_000 }, () => {
  let chrome;
  let shy;
  let cluster;
  let site;

  before(async () => {
    [cluster, chrome, shy, site] = await Promise.all([
      Cluster.start(1), browser(), browser('document-user-activation-required'), hosted(),
    ]);
  });

  after(async () => {
    await chrome?.close();
    await shy?.close();
    await site?.close();
    await killAll();
  });

  const watch = (todo, options = {}, path = '/watch/live/event', by = chrome) => visit(by, cluster.mirrors[0].url + path, options, todo);

  it('with a keyboard: every control has a name and can be reached, and the keys do what they say', () =>
    watch(async (page) => {
      await plays(page);
      const names = [];
      for (let i = 0; i < 16; i++) {
        await page.keyboard.press('Tab');
        const on = await page.evaluate(() => {
          let e = document.activeElement;
          while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
          return e ? (e.getAttribute('aria-label') ?? e.textContent).trim() : '';
        });
        names.push(on);
      }
      for (const name of ['Pause (k)', 'Sound off (m)', 'Volume', 'Go to the live picture', 'Details: mirror and delay', 'Full screen (f)', 'Mirror and delay']) {
        assert.ok(names.includes(name), `${name} in ${names}`);
      }
      const { player } = { player: page.locator('crtmp-player') };
      await player.locator('.play').focus();
      await page.keyboard.press('k');
      await until('paused', async () => page.evaluate(() => document.querySelector('crtmp-player').player.video.paused));
      assert.equal(await player.locator('.play').getAttribute('aria-label'), 'Play (k)');
      await page.keyboard.press('k');
      await plays(page);
      await page.keyboard.press('m');
      assert.equal((await figures(page)).muted, true);
      await page.keyboard.press('i');
      assert.equal(await player.locator('.facts').isVisible(), true);
      assert.equal(await player.locator('.info').getAttribute('aria-expanded'), 'true');
      await page.keyboard.press('Escape');
      assert.equal(await player.locator('.facts').isVisible(), false);
    }));

  for (const colorScheme of ['light', 'dark']) {
    it(`a screen reader gets on, and everything can be read, in the ${colorScheme}`, async () => {
      const options = { colorScheme, before: (page) => page.addInitScript(AXE) };
      await watch(async (page) => {
        await plays(page);
        assert.deepEqual(await faults(page), [], 'the start page');
      }, options, '/');
      await watch(async (page) => {
        await plays(page);
        await page.getByText('Embed this stream').click();
        await page.getByText('Addresses for VLC').click();
        await page.getByRole('button', { name: 'Mirror and delay', exact: true }).click();
        await until('the details', async () => /Delay/.test(await page.locator('crtmp-player .facts').innerText()));
        assert.deepEqual(await faults(page), [], 'a stream’s page, everything open');
      }, options);
      await watch(async (page) => {
        await says(page, /not live/);
        assert.deepEqual(await faults(page), [], 'one that is not live');
      }, options, '/watch/live/later');
      await watch(async (page) => {
        await plays(page);
        // Headings are the page's around it; the frame has its title.
        assert.deepEqual(await faults(page, { 'page-has-heading-one': { enabled: false } }), [], 'in a frame');
      }, options, '/watch/live/event?embed');
      await watch(async (page) => assert.deepEqual(await faults(page), [], 'no page'), options, '/nothing');
      await visit(chrome, site.url, options, async (page) => {
        await page.getByLabel('Stream').waitFor();
        assert.deepEqual(await faults(page), [], 'the form of the static page');
      });
      await visit(chrome, site.page(cluster.stream, [cluster.mirrors[0].url]), options, async (page) => {
        await plays(page);
        assert.deepEqual(await faults(page), [], 'the static page');
      });
    });
  }

  it('on a phone nothing is wider than the screen', () =>
    watch(async (page) => {
      await plays(page);
      for (const path of ['/', '/watch/live/event']) {
        await page.goto(cluster.mirrors[0].url + path);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${path}: ${wide} pixels too wide`);
      }
      await plays(page);
      const small = await page.evaluate(() =>
        [...document.querySelectorAll('button:not([hidden]),a.quiet')].filter((b) => b.getBoundingClientRect().height < 40).map((b) => b.textContent));
      assert.deepEqual(small, [], 'fingers need room');
    }, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }));

  it('where only silence may play by itself, it plays in silence and offers the sound', async () => {
    const said = [];
    await watch(async (page) => {
      // A test's look into the page counts as a person's action for the browser: the page tells by itself.
      await until('a silent picture that moves', () => said.find((f) => f.time > 0.5));
      assert.ok(said.filter((f) => f.time > 0.5).every((f) => f.muted));
      const button = page.locator('crtmp-player .sound');
      await until('the button', () => button.isVisible());
      await button.click();
      await until('sound', async () => (await figures(page)).muted === false);
      await plays(page, { pictures: 30 });
      assert.equal(await button.isVisible(), false);
    }, {
      before: async (page) => {
        page.on('console', (m) => {
          if (m.text().startsWith('{')) said.push(JSON.parse(m.text()));
        });
        await page.addInitScript(() => setInterval(() => {
          const video = document.querySelector('crtmp-player')?.player?.video;
          if (video) console.log(JSON.stringify({ time: video.currentTime, muted: video.muted }));
        }, 50));
      },
    }, '/watch/live/event', shy);
  });

  it('where nothing may play by itself, it says so, and one click is enough', () =>
    watch(async (page) => {
      await says(page, /Press play to watch/);
      await until('the first picture, which stands still', async () => (await figures(page)).shown);
      await says(page, /Press play to watch/);
      await page.evaluate(() => (globalThis.allowed = true));
      await page.locator('crtmp-player .big').click();
      await plays(page);
      await says(page, /^$/);
    }, {
      before: (page) => page.addInitScript(() => {
        const { play } = HTMLMediaElement.prototype;
        HTMLMediaElement.prototype.play = function () {
          return globalThis.allowed ? play.call(this) : Promise.reject(new DOMException('not allowed', 'NotAllowedError'));
        };
      }),
    }));

  it('a browser without Media Source Extensions is told so', () =>
    watch(async (page) => {
      await says(page, /lacks Media Source Extensions/);
      assert.equal((await told(page, 'failed')).length, 1);
    }, {
      before: (page) => page.addInitScript(() => {
        for (const name of ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource']) delete globalThis[name];
        HTMLMediaElement.prototype.canPlayType = () => '';
      }),
    }));

  it('one without Media Source Extensions that knows HLS plays that', () =>
    watch(async (page) => {
      assert.equal((await plays(page)).stats.protocol, 'native');
    }, {
      before: (page) => page.addInitScript(() => {
        for (const name of ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource']) delete globalThis[name];
      }),
    }));

  for (const native of [true, false]) {
    it(`what Media Source Extensions cannot decode is ${native ? 'left to the browser' : 'told'}`, () =>
      watch(async (page) => {
        if (native) assert.equal((await plays(page)).stats.protocol, 'native');
        else await says(page, /This browser cannot play this stream/);
      }, {
        before: (page) => page.addInitScript((native) => {
          MediaSource.prototype.addSourceBuffer = () => {
            throw new DOMException('unsupported', 'NotSupportedError');
          };
          if (!native) HTMLMediaElement.prototype.canPlayType = () => '';
        }, native),
      }));
  }

  it('without JavaScript the addresses are there', () =>
    visit(chrome, cluster.mirrors[0].url, { javaScriptEnabled: false }, async (page) => {
      assert.match(await page.locator('main').innerText(), /live\/event/);
      assert.ok((await page.locator('a[href$="/live/event.flv"]').count()) > 0);
      assert.match(await page.locator('noscript').innerText(), /needs JavaScript/);
    }));

  it('a device that is offline is told so, and plays when it is back', () =>
    watch(async (page) => {
      await plays(page);
      await page.context().setOffline(true);
      // What is open stays open for the browser; the connection ends with the mirror.
      await cluster.mirrors[0].kill();
      await says(page, /device is offline/);
      await cluster.mirrors[0].start();
      await cluster.mirrors[0].live(cluster.stream);
      await page.context().setOffline(false);
      await until('it plays', async () => (await figures(page)).state === 'playing');
      await plays(page);
    }));

  it('a stream that is not live is waited for', () =>
    watch(async (page) => {
      await says(page, /not live\. It starts here by itself/);
      assert.deepEqual(await told(page, 'failed'), []);
    }, {}, '/watch/live/later'));

  it('no server at all: it says so, tells it, and goes on by itself', async () => {
    const port = await freePort();
    await visit(chrome, site.page('live/event', [`http://127.0.0.1:${port}`]), {}, async (page) => {
      await says(page, /No server answers\. Still trying/);
      assert.equal((await told(page, 'failed')).length, 1);
      const failed = await told(page, 'connectfailed');
      assert.equal(failed.length, 3, 'three passes');
      assert.ok(failed.every((f) => f.why === 'refused'));
      await page.locator('crtmp-player .again').click();
      await until('one more try', async () => (await told(page, 'connectfailed')).length > 3);
    });
  });

  it('a server that is full says so, and takes who waits as soon as there is room', async () => {
    const small = await Server.start('small', '[limits]\nmax_viewers = 1\n[relay]\ngrace = "1s"\n');
    const encoder = publish('encoder-small', small, cluster.stream);
    await small.live(cluster.stream);
    const url = site.page(cluster.stream, [small.url]);
    await visit(chrome, url, {}, async (first) => {
      await plays(first);
      await visit(chrome, url, {}, async (second) => {
        await says(second, /No server takes more viewers at the moment/);
        assert.ok((await told(second, 'connectfailed')).every((f) => f.why === 'busy'));
        await first.goto('about:blank');
        await plays(second);
      });
    });
    await encoder.kill();
    await small.kill();
  });

  it('a player may be taken out of its page and put back, and its options may come late', () =>
    visit(chrome, `${site.url}/?stream=${cluster.stream}&hosts=${cluster.mirrors[0].url}`, {}, async (page) => {
      await plays(page);
      const put = (step) => page.evaluate(step);
      await put(() => {
        globalThis.kept = document.querySelector('crtmp-player');
        globalThis.place = globalThis.kept.parentNode;
        globalThis.kept.remove();
      });
      await until('its connection ends', async () => (await cluster.mirrors[0].viewers('flv')) === 0);
      await put(() => void globalThis.place.prepend(globalThis.kept));
      await plays(page);
      await page.locator('crtmp-player .play').focus();
      await page.keyboard.press('m');
      assert.equal((await figures(page)).muted, true, 'a key is heard once');
      await put(() => {
        globalThis.kept.remove();
        const late = document.createElement('crtmp-player');
        globalThis.place.prepend(late);
      });
      await says(page, /“stream” is ""; it should be APP\/STREAM/);
      await page.evaluate(([stream, hosts]) => {
        const late = document.querySelector('crtmp-player');
        late.setAttribute('hosts', hosts);
        late.setAttribute('stream', stream);
      }, [cluster.stream, cluster.mirrors[0].url]);
      await plays(page);
    }));

  it('a list that is old, empty or wrong is told, and the mirror beside it plays', async () => {
    const mirror = cluster.mirrors[0].url;
    const hosts = [{ http: mirror }];
    const cases = {
      '/old.json': [JSON.stringify({ generated: new Date(Date.now() - 7200_000).toISOString(), hosts }), /120 minutes old|2 hours old/],
      '/empty.json': ['{"hosts":[]}', /list of mirrors is empty/],
      '/wrong.json': ['<html>', /not JSON/],
      '/missing.json': [undefined, /not there \(HTTP 404\)/],
      '/rtmp.json': ['{"hosts":[{"rtmp":"rtmp://127.0.0.1"}]}', /No mirror of the list has an HTTP address/],
    };
    for (const [path, [body, words]] of Object.entries(cases)) {
      if (body !== undefined) site.files[path] = body;
      await visit(chrome, site.page(cluster.stream, [site.url + path, mirror]), {}, async (page) => {
        await plays(page);
        await page.getByRole('button', { name: 'Mirror and delay', exact: true }).click();
        await until(`${path}: ${words}`, async () => words.test(await page.locator('crtmp-player .facts').innerText()));
      });
    }
    await visit(chrome, site.page(cluster.stream, [`${site.url}/empty.json`]), {}, async (page) => {
      await says(page, /The list of mirrors is empty\. There is no server to ask/);
    });
  });

  it('a mistake in the options is a sentence', () =>
    visit(chrome, site.page(cluster.stream, ['rtmp://127.0.0.1/live']), {}, async (page) => {
      await says(page, /browsers do not play RTMP/);
    }));

  it('a page that is open before the stream begins shows it when it does', async () => {
    const early = await Server.start('early', '[relay]\ngrace = "1s"\n');
    await visit(chrome, early.url, {}, async (page) => {
      assert.match(await page.locator('main').innerText(), /Nothing is live/);
      const encoder = publish('encoder-early', early, 'live/late');
      await plays(page);
      await encoder.kill();
      await says(page, /not live\. It starts here by itself/);
    });
    await early.kill();
  });
});
