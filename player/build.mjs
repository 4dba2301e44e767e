// Builds the player: `node build.mjs FOLDER`. The folder is then one that any web server can host.
//
// Names with a hash never change what they hold and may be kept for ever; `index.html` and `player.js`
// lead to them. `assets.txt` lists all of it, for the server that has it built in.
import { build } from 'esbuild';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, 'dist'));

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const result = await build({
  absWorkingDir: here,
  entryPoints: { module: 'src/index.js', site: 'src/site.js' },
  outdir: out,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: ['es2022'],
  minify: true,
  legalComments: 'none', // NOTICE.txt has them
  metafile: true,
  logLevel: 'warning',
});

/** The file that an entry point became. */
const built = (entry) => {
  const found = Object.entries(result.metafile.outputs).find(([, o]) => o.entryPoint === entry);
  return found[0].split('/').pop();
};
const module = built('src/index.js');
const site = built('src/site.js');
// What the first picture needs, so that a page asks for all of it at once.
const preload = new Set();
const needs = (name) => {
  const output = Object.entries(result.metafile.outputs).find(([path]) => path.split('/').pop() === name)[1];
  for (const { path, kind } of output.imports) {
    const other = path.split('/').pop();
    if (kind !== 'import-statement' || preload.has(other)) continue;
    preload.add(other);
    needs(other);
  }
};
const flv = built('src/engine-flv.js');
preload.add(flv);
needs(site);
needs(flv);

const style = await readFile(join(here, 'page/page.css'));
const css = `page-${createHash('sha256').update(style).digest('hex').slice(0, 8).toUpperCase()}.css`;
await writeFile(join(out, css), style);
const page = await readFile(join(here, 'page/index.html'), 'utf8');
const links = [...preload].map((name) => `<link rel="modulepreload" href="${name}">\n`).join('');
await writeFile(join(out, 'index.html'), page.replace('page.css', css).replace('site.js', site).replace('</head>', `${links}</head>`));
await writeFile(join(out, 'player.js'), `export * from './${module}';\n`);
await writeFile(join(out, 'NOTICE.txt'), await notice());

// What the server has built in: everything but the page, which it makes itself. Compressed here once.
const lines = [];
for (const name of (await readdir(out)).sort()) {
  if (name === 'index.html' || name === css) continue;
  const text = await readFile(join(out, name));
  const packed = gzipSync(text, { level: 9 });
  await mkdir(join(out, 'gz'), { recursive: true });
  await writeFile(join(out, 'gz', name), packed);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const forever = name === 'player.js' || name === 'NOTICE.txt' ? 'revalidate' : 'immutable';
  lines.push(`${name} ${hash} ${forever}`);
}
await writeFile(join(out, 'assets.txt'), `site ${site}\n${[...preload].map((name) => `preload ${name}\n`).join('')}${lines.join('\n')}\n`);

/** The licences of everything that is in the bundle: whatever is needed to run, directly or not. */
async function notice() {
  const { packages } = JSON.parse(await readFile(join(here, 'package-lock.json'), 'utf8'));
  let text = 'The player of crtmpserver holds these packages, or parts of them.\n';
  for (const [path, { dev, version, license }] of Object.entries(packages)) {
    if (!path.startsWith('node_modules/') || dev) continue;
    const file = (await readdir(join(here, path))).find((f) => /^licen[cs]e/i.test(f));
    if (!file) throw new Error(`${path} has no licence file`);
    const licence = (await readFile(join(here, path, file), 'utf8')).trim();
    text += `\n${'='.repeat(76)}\n${path.slice(13)} ${version} (${license})\n\n${licence}\n`;
  }
  return text;
}
