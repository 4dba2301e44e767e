/**
 * Machines with addresses of their own: network namespaces on one switch. That takes root and iproute2.
 */
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { Child, binary, logs, programme, until } from './world.js';

const run = promisify(execFile);
const IP = '/usr/sbin/ip';
const NFT = '/usr/sbin/nft';

function must(program, args, input) {
  const done = spawnSync(program, args, { encoding: 'utf8', input });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.stderr ?? done.error}`);
}

/** Why there can be none here; false when there can. */
export function lacking() {
  if (process.getuid?.() !== 0) return 'namespaces need root';
  const missing = [IP, NFT].filter((p) => !existsSync(p));
  if (missing.length > 0) return `${missing.join(', ')} not installed`;
  const name = `crt-${process.pid}-probe`;
  const made = spawnSync(IP, ['netns', 'add', name]).status === 0;
  if (made) spawnSync(IP, ['netns', 'del', name]);
  return made ? false : 'no namespaces can be made';
}

/** A switch, and the machines on it; `end` takes all of them away. */
export class Network {
  constructor() {
    this.machines = [];
    // A run that is cut off leaves nothing behind.
    process.once('exit', () => this.end());
    this.hub = this.namespace('hub');
    must(IP, ['-n', this.hub, 'link', 'add', 'sw0', 'type', 'bridge']);
    must(IP, ['-n', this.hub, 'link', 'set', 'sw0', 'up']);
  }

  namespace(name) {
    const full = `crt-${process.pid}-${name}`;
    must(IP, ['netns', 'add', full]);
    this.machines.push(full);
    must(IP, ['-n', full, 'link', 'set', 'lo', 'up']);
    return full;
  }

  /** One more machine; its address is of those for documents, so to every program a public one. */
  machine(name) {
    const number = this.machines.length;
    const space = this.namespace(name);
    must(IP, ['-n', space, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `p${number}`, 'netns', this.hub]);
    must(IP, ['-n', this.hub, 'link', 'set', `p${number}`, 'master', 'sw0', 'up']);
    must(IP, ['-n', space, 'addr', 'add', `203.0.113.${number}/24`, 'dev', 'eth0']);
    must(IP, ['-n', space, 'link', 'set', 'eth0', 'up']);
    return new Machine(name, space, `203.0.113.${number}`);
  }

  end() {
    for (const name of this.machines.splice(0)) spawnSync(IP, ['netns', 'del', name]);
  }
}

/** See `Network.machine`. */
export class Machine {
  constructor(name, space, address) {
    this.name = name;
    this.enter = ['--net=/run/netns/' + space];
    this.address = address;
    this.url = `http://${address}:8080`;
  }

  start(name, program, args) {
    return new Child(name, 'nsenter', [...this.enter, program, ...args]);
  }

  /** Our server, on the usual ports of all its addresses. */
  serve(keys) {
    const file = join(logs, `${this.name}.toml`);
    const control = join(logs, `${this.name}.sock`);
    const [top, rest] = [keys.slice(0, keys.indexOf('[')), keys.slice(keys.indexOf('['))];
    writeFileSync(file, `${top}[listen]\ncontrol = "${control}"\n${rest}`);
    this.server = this.start(this.name, binary, ['--allow-root', file]);
  }

  publish(stream) {
    const url = `rtmp://127.0.0.1/${stream}`;
    this.start('encoder', 'ffmpeg', [
      '-hide_banner', '-loglevel', 'warning', '-re', '-stream_loop', '-1', '-i', programme, '-t', '900', '-c', 'copy', '-f', 'flv', url,
    ]);
  }

  /** What is at an address, as this machine sees it; null when nothing is. */
  async get(url) {
    const script = `fetch(process.argv[1], { signal: AbortSignal.timeout(3000) }).then((a) => a.text()).then((t) => process.stdout.write(t), () => process.exit(1))`;
    const asked = run('nsenter', [...this.enter, process.execPath, '-e', script, url]);
    return asked.then(({ stdout }) => stdout, () => null);
  }

  live(stream) {
    return until(`${stream} is live on ${this.name}`, async () => (await this.get(`${this.url}/${stream}.json`))?.includes('"live"'));
  }

  /** Cuts its cable without a word: nothing goes out, nothing comes in, and nobody is told. */
  cut() {
    const chain = (hook) => `chain ${hook} { type filter hook ${hook} priority 0; policy drop; }\n`;
    must('nsenter', [...this.enter, NFT, '-f', '-'], `table inet cut {\n${chain('input')}${chain('output')}}\n`);
  }

  mend() {
    must('nsenter', [...this.enter, NFT, 'delete', 'table', 'inet', 'cut']);
  }

  /** A program that runs another one on this machine, for those who start a browser by its path. */
  wrap(program) {
    const file = join(logs, `${this.name}.sh`);
    writeFileSync(file, `#!/bin/sh\nexec nsenter ${this.enter.join(' ')} ${program} "$@"\n`);
    chmodSync(file, 0o755);
    return file;
  }
}
