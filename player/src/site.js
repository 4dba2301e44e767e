/**
 * What the pages do beyond the player: the list keeps itself, the snippet is copied, and the static page
 * makes itself of its address.
 * @module
 */

import { CrtmpPlayer } from './index.js';

/** How often the list of what is live is looked at, ms. */
const LOOK = 5000;

const still = document.getElementById('static');
if (still) fromAddress(still);
bind(document);
if (document.querySelector('crtmp-file')) void playFile();
if (document.getElementById('rows')) setInterval(() => void look(), LOOK);

/** The page of a file. */
async function playFile() {
  document.addEventListener('unplayable', () => {
    const note = document.getElementById('unplayable');
    if (note) note.hidden = false;
  });
  const { CrtmpFile } = await import('./film.js');
  customElements.define('crtmp-file', CrtmpFile);
}

/** @param {ParentNode} within */
function bind(within) {
  for (const button of within.querySelectorAll('[data-facts]')) {
    if (!(button instanceof HTMLButtonElement)) continue;
    button.hidden = false;
    button.addEventListener('click', () => {
      const player = document.querySelector('crtmp-player');
      if (!(player instanceof CrtmpPlayer)) return;
      player.facts();
      button.setAttribute('aria-expanded', String(player.showsFacts));
    });
  }
  for (const button of within.querySelectorAll('[data-copy]')) {
    if (!(button instanceof HTMLButtonElement) || !navigator.clipboard) continue;
    button.hidden = false;
    const said = button.textContent;
    button.addEventListener('click', async () => {
      const from = document.getElementById(button.dataset.copy ?? '');
      try {
        await navigator.clipboard.writeText(from?.textContent ?? '');
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Not allowed: mark it and copy';
      }
      setTimeout(() => (button.textContent = said), 2500);
    });
  }
}

/** Looks what is live now; the page's own server makes the rows. */
async function look() {
  if (document.hidden) return;
  const rows = document.getElementById('rows');
  try {
    const answer = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(LOOK) });
    if (!answer.ok || !rows) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.getElementById('rows');
    if (!fresh || fresh.innerHTML === rows.innerHTML || rows.contains(document.activeElement)) return;
    const open = [...rows.querySelectorAll('details[open]')].map((d) => d.id);
    rows.replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    bind(rows);
    // The first stream of all: there was no player yet.
    const stage = document.getElementById('stage');
    const first = page.getElementById('stage');
    if (stage && first && !stage.querySelector('crtmp-player') && first.querySelector('crtmp-player')) {
      stage.replaceChildren(...first.childNodes);
      bind(stage);
    }
  } catch {
    // The server is away; the player finds another by itself.
  }
}

/**
 * The static page: `?hosts=…&stream=…`.
 * @param {HTMLElement} main
 */
function fromAddress(main) {
  const query = new URLSearchParams(location.search);
  const stream = query.get('stream');
  if (!stream) {
    const title = document.createElement('h1');
    title.textContent = 'Watch a stream';
    main.append(title, form(query));
    return;
  }
  const section = document.createElement('section');
  section.className = 'stage';
  const player = document.createElement('crtmp-player');
  for (const name of ['stream', 'hosts', 'connect-timeout', 'connect-count', 'failure-expiry', 'stall-timeout', 'load-balance', 'protocols', 'autoplay', 'muted']) {
    const value = query.get(name) ?? query.get(name.replace(/-./g, (m) => (m[1] ?? '').toUpperCase()));
    if (value !== null) player.setAttribute(name, value);
  }
  const under = document.createElement('div');
  under.className = 'under';
  const title = document.createElement('h1');
  title.className = 'grow';
  title.textContent = query.get('title') ?? stream;
  document.title = title.textContent;
  const facts = document.createElement('button');
  facts.className = 'quiet';
  facts.dataset.facts = '';
  facts.setAttribute('aria-expanded', 'false');
  facts.textContent = 'Mirror and delay';
  under.append(title, facts);
  section.append(player, under);
  if (query.has('embed')) {
    document.body.className = 'embed';
    main.append(player);
  } else {
    main.append(section);
  }
}

/** @param {URLSearchParams} query */
function form(query) {
  const form = document.createElement('form');
  form.className = 'ask card';
  for (const [name, label, example] of [
    ['stream', 'Stream', 'live/event'],
    ['hosts', 'Mirrors, or the address of their list', 'http://mirror1.example.org:8080/cluster.json'],
  ]) {
    const field = document.createElement('label');
    const input = document.createElement('input');
    input.name = name ?? '';
    input.placeholder = example ?? '';
    input.required = name === 'stream';
    input.value = query.get(name ?? '') ?? '';
    field.append(label ?? '', input);
    form.append(field);
  }
  const button = document.createElement('button');
  button.className = 'quiet';
  button.textContent = 'Watch';
  form.append(button);
  return form;
}
