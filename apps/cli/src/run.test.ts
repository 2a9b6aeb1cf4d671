import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import type { EtcdApi, PutRequest, SnapshotChunk, TxnRequest } from '@muster/kv';
import { judge } from './commands/check-perf.ts';
import { run } from './run.ts';
import { memoryIo } from './testing/memory-io.ts';

const header = { clusterId: 1n, memberId: 2n, revision: 5, raftTerm: 1 };

/** One command line against an api of which only some calls are there. */
async function command(
  line: readonly string[],
  api: Partial<EtcdApi>,
  input = '',
  env: Record<string, string> = {},
) {
  const io = memoryIo(input, env);
  const code = await run({
    name: 'musterctl',
    argv: line,
    io,
    signal: new AbortController().signal,
    connect: async (spec) => ({
      api: api as EtcdApi,
      concurrency: {} as never,
      endpoints: spec.endpoints,
      options: () => ({}),
      close: () => undefined,
    }),
  });
  return { code, out: io.outText(), err: io.errText() };
}

test('put takes its value from the input, and a bad lease id is exit code 128', async () => {
  const puts: PutRequest[] = [];
  const api: Partial<EtcdApi> = {
    put: async (request) => {
      puts.push(request);
      return { header, revision: 5 };
    },
  };
  assert.deepEqual(await command(['put', 'k'], api, 'from input'), { code: 0, out: 'OK\n', err: '' });
  assert.equal(Buffer.from(puts[0]?.value ?? '').toString(), 'from input');
  const refused = await command(['put', 'k', 'v', '--lease=zz'], api);
  assert.equal(refused.code, 128);
  assert.equal(
    refused.err,
    'Error: bad lease ID (strconv.ParseInt: parsing "zz": invalid syntax), expecting ID in Hex\n',
  );
  assert.equal((await command(['put', 'k'], api)).code, 128);
  assert.equal(puts.length, 1);
});

test("the server's errors are printed as etcdctl prints them", async () => {
  const failing = (error: KvError): Partial<EtcdApi> => ({ range: async () => Promise.reject(error) });
  const known = await command(['get', 'k'], failing(new KvError('COMPACTED')));
  assert.deepEqual(known, {
    code: 1,
    out: '',
    err: 'Error: etcdserver: mvcc: required revision has been compacted\n',
  });
  const remote = { code: 2, text: 'auth: permission denied' };
  const foreign = await command(['get', 'k'], failing(new KvError('INTERNAL', { remote })));
  assert.equal(foreign.err, 'Error: rpc error: code = Unknown desc = auth: permission denied\n');
  assert.equal((await command(['get', 'k'], failing(new KvError('AUTH_FAILED')))).code, 2);
});

test('an output format that a command does not have stops it before it does anything', async () => {
  const { code, err } = await command(['put', 'k', 'v', '-w', 'table'], {});
  assert.deepEqual([code, err], [4, 'Error: table not supported as output format\n']);
  assert.equal((await command(['get', 'k', '-w', 'xml'], {})).err, 'Error: unsupported output format\n');
});

test('txn reads three paragraphs; prompts only when interactive', async () => {
  const seen: TxnRequest[] = [];
  const api: Partial<EtcdApi> = {
    txn: async (request) => {
      seen.push(request);
      return { header, revision: 5, succeeded: false, responses: [] };
    },
  };
  const lines = 'mod("a") > "0"\n\nput a b\nget a\n\ndel a\n\n';
  assert.equal((await command(['txn'], api, lines)).out, 'FAILURE\n');
  assert.match(
    (await command(['txn', '-i'], api, lines)).out,
    /^compares:\nsuccess requests \(get, put, del\):\n/,
  );
  const [request] = seen;
  assert.deepEqual([request?.compare.length, request?.success.length, request?.failure.length], [1, 2, 1]);
  assert.deepEqual(await command(['txn'], api, 'mod("a") > "0"\n'), {
    code: 3,
    out: '',
    err: 'Error: EOF\n',
  });
});

test('discovery is refused in words, a password needs no terminal', async () => {
  const { code, err } = await command(['--discovery-srv', 'example.org', 'get', 'k'], {});
  assert.equal(code, 4);
  assert.match(err, /--discovery-srv is not supported: name the cluster with --endpoints/);
});

test('help, in the layout of etcdctl', async () => {
  const { code, out } = await command(['get', '--help'], {});
  assert.equal(code, 0);
  assert.match(
    out,
    /^NAME:\n\tget - Gets the key or a range of keys\n\nUSAGE:\n\tmusterctl get \[options\] <key>/,
  );
  assert.match((await command([], {})).out, /\tlease keep-alive +Keeps leases alive/);
  assert.equal((await command(['--hex', 'help', 'get'], {})).out, out);
});

test('a new password is asked for twice, also where there is no terminal', async () => {
  const added: string[] = [];
  const api: Partial<EtcdApi> = {
    userAdd: async ({ password }) => {
      added.push(password);
      return { header };
    },
  };
  const { out } = await command(['user', 'add', 'u'], api, 'p w\np w\n');
  assert.equal(out, 'Password of u: \nType password of u again for confirmation: \nUser u created\n');
  const { code, err } = await command(['user', 'add', 'u'], api, 'one\nother\n');
  assert.deepEqual([code, err], [128, 'Error: given passwords are different\n']);
  await command(['user', 'add', 'u', '--interactive=false'], api, 'plain\n');
  await command(['user', 'add', 'u:in:line'], api);
  await command(['user', 'add', 'u', '--new-user-password', 'flag'], api);
  assert.deepEqual(added, ['p w', 'plain', 'in:line', 'flag']);
});

/** A stream as a server sends it: pages, then their hash. */
async function* snapshotOf(content: Buffer, hash: Buffer): AsyncGenerator<SnapshotChunk> {
  for (let at = 0; at < content.length; at += 700) {
    const blob = content.subarray(at, at + 700);
    yield { blob, remainingBytes: content.length - at - blob.length, version: '3.6.0' };
  }
  yield { blob: hash, remainingBytes: 0, version: '3.6.0' };
}

test('a snapshot is there when it is whole and right, and not at all otherwise', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'musterctl-'));
  try {
    const content = randomBytes(4096);
    const hash = createHash('sha256').update(content).digest();
    const save = (name: string, sent: Buffer, end: Buffer) =>
      command(['snapshot', 'save', join(dir, name)], { snapshot: () => snapshotOf(sent, end) });
    assert.equal((await save('good', content, hash)).out, `Snapshot saved at ${join(dir, 'good')}\n`);
    assert.deepEqual(readFileSync(join(dir, 'good')), Buffer.concat([content, hash]));
    assert.match(
      (await save('altered', Buffer.alloc(4096), hash)).err,
      /^Error: expected sha256 \[[\d ]+\], got \[/,
    );
    assert.match((await save('cut', content.subarray(0, 1000), hash)).err, /the stream ended before its end/);
    assert.deepEqual(readdirSync(dir), ['good']);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('the completion scripts are what their shells can read', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { out, code } = await command(['completion', shell], {});
    assert.equal(code, 0);
    assert.match(out, /keep-alive/);
    const check = spawnSync(shell, ['-n'], { input: out, encoding: 'utf8' });
    if (check.error) t.diagnostic(`${shell} is not installed: its script is not checked`);
    else assert.equal(check.stderr, '');
  }
});

test('the completion of bash knows the place in the tree', async () => {
  const { out } = await command(['completion', 'bash'], {});
  const complete = (...words: string[]) => {
    const script = `${out}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _musterctl_complete; echo "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim();
  };
  assert.equal(complete('musterctl', 'lease', 'g'), 'grant');
  assert.equal(complete('musterctl', '--hex', 'lease', 'timetolive', '--key'), '--key --keys');
  assert.equal(complete('musterctl', 'get', '-w', 'js'), 'json');
});

test('check perf judges throughput, the slowest request and the deviation', () => {
  const good = { writes: 9_000, seconds: 60, slowest: 0.1, stddev: 0.01, errors: new Map<string, number>() };
  assert.deepEqual(judge(good, 150), {
    lines: [
      'PASS: Throughput is 151 writes/s',
      'PASS: Slowest request took 0.100000s',
      'PASS: Stddev is 0.010000s',
      'PASS',
    ],
    passed: true,
  });
  const bad = judge({ ...good, writes: 100, slowest: 2, errors: new Map([['gone', 3]]) }, 150);
  assert.equal(bad.passed, false);
  assert.deepEqual(bad.lines.slice(0, 3), [
    'FAIL: too many errors',
    'FAIL: ERROR(gone) -> 3',
    'FAIL: Throughput too low: 2 writes/s',
  ]);
});
