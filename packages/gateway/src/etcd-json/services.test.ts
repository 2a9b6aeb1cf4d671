/** Locks that wait, lists that stream, and who is told that a certificate's name does not count. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { afterEach, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { KvError } from '@muster/contract';
import type { SnapshotChunk } from '@muster/kv';
import { RealClock } from '../../../../test/support/real-clock.ts';
import { type Answer, ask, RawStream, startServer, type TestServer } from '../../test/gateway-harness.ts';
import { StoreApi } from '../../test/store-api.ts';
import { commonNameCheck } from '../middleware/common-name.ts';
import { snapshotPieces } from './snapshot-pieces.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const b64 = (text: string): string => Buffer.from(text).toString('base64');

async function keysUnder(port: number, prefix: string): Promise<number> {
  const body = JSON.stringify({ key: b64(`${prefix}/`), range_end: b64(`${prefix}0`), count_only: true });
  const { json } = await ask(port, '/v3/kv/range', { body });
  return Number((json as { count?: string }).count ?? 0);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, 'it did not come to that');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A lock that is held, and one that waits for it. */
async function heldLock(
  port: number,
): Promise<{ key: string; lock: (headers?: Record<string, string>) => Promise<Answer> }> {
  const lock = (headers: Record<string, string> = {}) =>
    ask(port, '/v3/lock/lock', { body: JSON.stringify({ name: b64('my') }), headers });
  const { json } = await lock();
  return { key: (json as { key: string }).key, lock };
}

test('a client that hangs up while it waits for a lock leaves no key and no lease', async () => {
  server = await startServer();
  const { port, api } = server;
  await heldLock(port);
  const socket = connect(port, '127.0.0.1');
  const body = JSON.stringify({ name: b64('my') });
  socket.write(`POST /v3/lock/lock HTTP/1.1\r\nHost: test\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await until(async () => (await keysUnder(port, 'my')) === 2);
  socket.destroy();
  await until(async () => (await keysUnder(port, 'my')) === 1);
  assert.equal((await api.leaseLeases()).leases.length, 1);
});

test('a lock that waits ends by its deadline, its turn, or with the server', async () => {
  server = await startServer();
  const { port, gateway } = server;
  const { key, lock } = await heldLock(port);
  const late = await lock({ 'Grpc-Timeout': '50m' });
  assert.equal(late.status, 504);
  const error = { error: 'context deadline exceeded', message: 'context deadline exceeded', code: 4 };
  assert.deepEqual(late.json, error);
  assert.equal(await keysUnder(port, 'my'), 1);

  const turn = lock();
  await until(async () => (await keysUnder(port, 'my')) === 2);
  await ask(port, '/v3/lock/unlock', { body: JSON.stringify({ key }) });
  assert.equal((await turn).status, 200);

  const cut = lock();
  await until(async () => (await keysUnder(port, 'my')) === 2);
  void gateway.drain();
  const { status, json } = await cut;
  assert.deepEqual([status, (json as { message: string }).message], [503, 'transport is closing']);
  assert.equal(await keysUnder(port, 'my'), 1);
});

test('an observer that hangs up leaves no watch', async () => {
  server = await startServer();
  const api = server.api as StoreApi;
  const stream = new RawStream(server.port, '/v3/election/observe');
  stream.send(`{"name":"${b64('e')}"}`);
  await until(async () => api.hub.stats().watchers === 1);
  const campaign = JSON.stringify({ name: b64('e'), value: b64('v') });
  await ask(server.port, '/v3/election/campaign', { body: campaign });
  await stream.count(1);
  stream.close();
  await until(async () => api.hub.stats().watchers === 0);
});

/** A store with a file to copy. */
class Copied extends StoreApi {
  ended = false;
  readonly #chunks: readonly SnapshotChunk[];

  constructor(chunks: readonly SnapshotChunk[]) {
    super(new RealClock());
    this.#chunks = chunks;
  }

  override snapshot = async function* (this: Copied): AsyncGenerator<SnapshotChunk> {
    try {
      yield* this.#chunks;
    } finally {
      this.ended = true;
    }
  } as unknown as () => never;
}

const chunk = (bytes: number, remainingBytes: number): SnapshotChunk => ({
  blob: new Uint8Array(bytes).fill(7),
  remainingBytes,
  version: '3.6.0',
});

test('a snapshot in chunks of any size goes out in pieces of 32 KiB that count down', async () => {
  const pieces: SnapshotChunk[] = [];
  async function* chunks(): AsyncGenerator<SnapshotChunk> {
    yield* [chunk(70_000, 10), chunk(10, 0), chunk(32, 0)];
  }
  for await (const piece of snapshotPieces(chunks())) pieces.push(piece);
  assert.deepEqual(
    pieces.map(({ blob, remainingBytes }) => [blob.length, remainingBytes]),
    [
      [32_768, 37_242],
      [32_768, 4474],
      [4464, 10],
      [10, 0],
      [32, 0],
    ],
  );
});

test('a snapshot that nobody reads waits, and ends with its client', async () => {
  const many = Array.from({ length: 2000 }, (_, i) => chunk(32_768, (1999 - i) * 32_768));
  const api = new Copied(many);
  server = await startServer({ api });
  const socket = connect(server.port, '127.0.0.1');
  socket.write('POST /v3/maintenance/snapshot HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}');
  await new Promise((resolve) => socket.once('readable', resolve));
  assert.equal(api.ended, false);
  socket.destroy();
  await until(async () => api.ended);
});

test('a snapshot that fails on the way says so in its last line', async () => {
  class Broken extends StoreApi {
    override snapshot = async function* (): AsyncGenerator<SnapshotChunk> {
      yield chunk(5, 5);
      throw new KvError('CORRUPT');
    } as unknown as () => never;
  }
  server = await startServer({ api: new Broken(new RealClock()) });
  const { status, text } = await ask(server.port, '/v3/maintenance/snapshot', { body: '' });
  assert.equal(status, 200);
  const [first, last] = text.split('\n');
  assert.equal(
    first,
    `{"result":{"remaining_bytes":"5","blob":"${b64('\u0007'.repeat(5))}","version":"3.6.0"}}`,
  );
  assert.equal((JSON.parse(last as string) as { error: { grpc_code: number } }).error.grpc_code, 15);
});

test('a verified certificate with a name is refused while users count', () => {
  const certificate = (CN: string | undefined, authorized = true): TLSSocket =>
    Object.assign(Object.create(TLSSocket.prototype), {
      authorized,
      getPeerCertificate: () => ({ subject: CN === undefined ? {} : { CN } }),
    });
  let enabled = true;
  const check = commonNameCheck(() => enabled);
  const named = certificate('ann');
  assert.match(check(named) ?? '', /^CommonName of client sending a request against gateway/);
  assert.match(check(named) ?? '', /will be ignored and not used as expected\n$/);
  assert.equal(check(certificate('')), undefined);
  assert.equal(check(certificate(undefined)), undefined);
  assert.equal(check(certificate('ann', false)), undefined);
  enabled = false;
  assert.equal(check(named), undefined);
});
