import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deferred } from '@muster/base';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

/** A server process with what it says. */
class Run {
  readonly child: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr = '';
  stdout = '';
  #waiting: { readonly text: string; readonly resolve: () => void }[] = [];

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', ...env },
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      for (const waiting of this.#waiting) if (this.stderr.includes(waiting.text)) waiting.resolve();
    });
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** Resolves once the text has been logged; rejects when the process ends first. */
  async says(text: string): Promise<void> {
    if (this.stderr.includes(text)) return;
    const { promise, resolve } = deferred<void>();
    this.#waiting.push({ text, resolve });
    const early = this.exited.then(() =>
      assert.ok(this.stderr.includes(text), `ended first: ${this.stderr}`),
    );
    await Promise.race([promise, early]);
  }

  ready(): Promise<void> {
    return this.says('ready to serve client requests');
  }

  async end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.child.kill(signal);
    return this.exited;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

const running: Run[] = [];

function start(args: readonly string[], env?: Record<string, string>): Run {
  const run = new Run(args, env);
  running.push(run);
  return run;
}

/** Flags of member `i` of a cluster on these ports. */
function flagsOf(
  directory: string,
  clients: readonly number[],
  peers: readonly number[],
  i: number,
): string[] {
  const url = (port: number | undefined) => `http://127.0.0.1:${port}`;
  return [
    `--name=n${i}`,
    `--data-dir=${join(directory, `n${i}`)}`,
    `--listen-client-urls=${url(clients[i])}`,
    `--advertise-client-urls=${url(clients[i])}`,
    `--listen-peer-urls=${url(peers[i])}`,
    `--initial-advertise-peer-urls=${url(peers[i])}`,
    `--initial-cluster=${peers.map((port, j) => `n${j}=${url(port)}`).join(',')}`,
  ];
}

async function put(port: number | undefined, key: string, value: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/kv/${key}`, { method: 'PUT', body: value });
  assert.ok(response.ok, await response.clone().text());
  return ((await response.json()) as { revision: number }).revision;
}

async function get(port: number | undefined, key: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/kv/${key}`);
  return response.text();
}

async function leaderOf(clients: readonly number[]): Promise<number> {
  for (;;) {
    for (const [i, port] of clients.entries()) {
      const response = await fetch(`http://127.0.0.1:${port}/v3/maintenance/status`, {
        method: 'POST',
        body: '{}',
      });
      const status = (await response.json()) as { leader?: string; header: { member_id: string } };
      if (status.leader === status.header.member_id) return i;
    }
  }
}

describe('the server process', () => {
  let directory = '';
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'muster-server-'));
  });
  after(async () => {
    await Promise.all(running.map((run) => run.end('SIGKILL')));
    await rm(directory, { recursive: true, force: true });
  });

  it('prints help and version, and refuses flags with their exit statuses', async () => {
    const [help, version, unknown, bad] = [
      ['-h'],
      ['--version'],
      ['--bogus'],
      ['--heartbeat-interval=0'],
    ].map((args) => start(args));
    assert.equal((await help?.exited)?.code, 0);
    assert.match(help?.stdout ?? '', /--initial-cluster-token 'etcd-cluster'/);
    assert.equal((await version?.exited)?.code, 0);
    assert.match(version?.stdout ?? '', /^etcd Version: 3\.6\.\d+\nMuster Version: \d+\.\d+\.\d+\n/);
    assert.equal((await unknown?.exited)?.code, 2);
    assert.match(unknown?.stderr ?? '', /^flag provided but not defined: -bogus\nUsage:/);
    assert.equal((await bad?.exited)?.code, 1);
    assert.match(bad?.stderr ?? '', /--heartbeat-interval must be >0 \(set to 0ms\)/);
  });

  it('keeps what it acknowledged through a kill and through an orderly stop', async () => {
    const [client, peer] = await freePorts(2);
    const flags = flagsOf(directory, [client as number], [peer as number], 0);
    let run = start(flags);
    await run.ready();
    await put(client, 'killed', 'here');
    assert.deepEqual(await run.end('SIGKILL'), { code: null, signal: 'SIGKILL' });
    run = start(flags);
    await run.ready();
    assert.equal(await get(client, 'killed'), 'here');
    await put(client, 'stopped', 'here too');
    assert.deepEqual(await run.end('SIGTERM'), { code: 0, signal: null });
    run = start(flags);
    await run.ready();
    assert.equal(await get(client, 'stopped'), 'here too');

    const locked = start(flags);
    assert.equal((await locked.exited).code, 1);
    assert.match(locked.stderr, /uses this data directory/);
    const beside = start([...flags, `--data-dir=${join(directory, 'beside')}`]);
    assert.equal((await beside.exited).code, 1);
    assert.equal(beside.stderr, `listen tcp 127.0.0.1:${peer}: bind: address already in use\n`);
    assert.deepEqual(await run.end('SIGINT'), { code: 0, signal: null });

    const foreign = start([...flags, '--initial-cluster-token=another']);
    await foreign.ready();
    assert.match(foreign.stderr, /the data directory is that of member \w+ of cluster \w+ and counts/);
    assert.equal(await get(client, 'stopped'), 'here too');
    assert.deepEqual(await foreign.end('SIGTERM'), { code: 0, signal: null });
  });

  it('defragments before it serves when enough of the file is free', async () => {
    const [client, peer] = await freePorts(2);
    const home = join(directory, 'defragmented');
    const flags = flagsOf(home, [client as number], [peer as number], 0);
    let run = start(flags);
    await run.ready();
    const value = 'x'.repeat(500_000);
    let revision = 0;
    for (let i = 0; i < 20; i++) revision = await put(client, 'large', value);
    const compacted = await fetch(`http://127.0.0.1:${client}/v3/kv/compaction`, {
      method: 'POST',
      body: JSON.stringify({ revision, physical: true }),
    });
    assert.equal(compacted.status, 200);
    await run.end('SIGTERM');
    run = start([...flags, '--bootstrap-defrag-threshold-megabytes=1000']);
    await run.ready();
    assert.doesNotMatch(run.stderr, /defragmented at the start/);
    await run.end('SIGTERM');
    run = start([...flags, '--bootstrap-defrag-threshold-megabytes=5']);
    await run.ready();
    const line = /^.*defragmented at the start.*$/m.exec(run.stderr)?.[0] ?? '{}';
    const { bytesBefore, bytesAfter } = JSON.parse(line) as Record<string, number>;
    assert.ok((bytesBefore ?? 0) > 8_000_000 && (bytesAfter ?? Infinity) < 3_000_000, line);
    assert.equal(await get(client, 'large'), value);
    await run.end('SIGTERM');
  });

  it('stops at once on a second signal', async () => {
    const [client, peer] = await freePorts(2);
    const flags = flagsOf(join(directory, 'second'), [client as number], [peer as number], 0);
    const run = start([...flags, '--shutdown-timeout=60s'], { ETCD_LOG_LEVEL: 'info' });
    await run.ready();
    const watch = await fetch(`http://127.0.0.1:${client}/v3/watch`, {
      method: 'POST',
      body: JSON.stringify({ create_request: { key: 'AA==' } }),
    });
    const socket = new WebSocket(`ws://127.0.0.1:${client}/v1/watch`, 'watch.v1+json');
    await once(socket, 'open');
    run.child.kill('SIGTERM');
    await run.says('"stopping"');
    run.child.kill('SIGTERM');
    assert.deepEqual(await run.exited, { code: 143, signal: null });
    assert.match(run.stderr, /cut short by a second signal/);
    await watch.body?.cancel().catch(() => {});
  });

  it('replaces a leader that is killed, and hands over from one that is stopped', async () => {
    const clients = await freePorts(3);
    const peers = await freePorts(3);
    const home = join(directory, 'three');
    const runs = [0, 1, 2].map((i) => start(flagsOf(home, clients, peers, i)));
    await Promise.all(runs.map((run) => run.ready()));
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const leader = await leaderOf(clients);
      const other = (leader + 1) % 3;
      const before = await put(clients[other], signal, 'before');
      const ended = runs[leader]?.end(signal);
      const after = await put(clients[other], signal, 'after');
      assert.ok(after > before);
      assert.equal((await ended)?.code, signal === 'SIGKILL' ? null : 0);
      runs[leader] = start(flagsOf(home, clients, peers, leader));
      await runs[leader].ready();
      assert.equal(await get(clients[leader], signal), 'after');
    }
    const ends = await Promise.all(runs.map((run) => run.end('SIGTERM')));
    assert.deepEqual(ends, Array(3).fill({ code: 0, signal: null }));
  });
});
