import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import { parseEndpoint } from './endpoint.ts';
import { failureOf, kvErrorOf } from './failure.ts';
import type { ConnectOptions } from './options.ts';
import { connectEtcd, type RemoteEtcd } from './remote-etcd.ts';
import { answersProgressTruly } from './watch-client.ts';

test('endpoints as they are written', () => {
  const target = (url: string) => {
    const { target, secure } = parseEndpoint(url);
    return `${target}${secure ? ' tls' : ''}`;
  };
  assert.equal(target('127.0.0.1:2379'), 'dns:127.0.0.1:2379');
  assert.equal(target('http://etcd.internal:1'), 'dns:etcd.internal:1');
  assert.equal(target('https://[::1]:2379'), 'dns:[::1]:2379 tls');
  assert.equal(target('https://host'), 'dns:host:2379 tls');
  assert.equal(target('unix:///run/etcd.sock'), 'unix:/run/etcd.sock');
  for (const bad of ['', 'ftp://a:1', 'a:0', 'a:70000', 'http://a:1/path', 'a b:1:2', 'user@host:1:1']) {
    assert.throws(() => parseEndpoint(bad), TypeError, bad);
  }
});

test('which servers tell progress truly', () => {
  const truly = ['3.4.25', '3.4.40', '3.5.8', '3.6.0', '3.6.0-rc.1', '4.0.0'].map(answersProgressTruly);
  assert.deepEqual(new Set(truly), new Set([true]));
  const not = ['3.4.23', '3.5.7', '3.3.27', '2.3.8', '', 'unknown'].map(answersProgressTruly);
  assert.deepEqual(new Set(not), new Set([false]));
});

test('statuses become rows of the table, or keep their code and text', () => {
  assert.equal(kvErrorOf(5, 'etcdserver: requested lease not found').code, 'LEASE_NOT_FOUND');
  const unknown = kvErrorOf(13, 'something new');
  assert.deepEqual(
    [unknown.message, unknown.row.grpc, unknown.row.text],
    ['something new', 13, 'something new'],
  );
  // Known words under another code, as older servers send them.
  const older = kvErrorOf(14, 'etcdserver: rpc not supported for learner');
  assert.deepEqual([older.code, older.row.grpc], ['LEARNER_UNSUPPORTED', 14]);
  assert.equal(kvErrorOf(4, 'Deadline exceeded after 0.1s').code, 'DEADLINE');
  const failure = (code: number, details: string) => failureOf({ code, details } as ServiceError);
  assert.equal(failure(14, 'No connection established. Last error: x').notSent, true);
  assert.equal(failure(14, 'Connection dropped').notSent, false);
  assert.equal(failure(14, 'etcdserver: request timed out').broken, false);
  assert.equal(failure(13, 'Received RST_STREAM with code 2 (Internal server error)').code, 14);
});

/** A server that answers `answers` to each call of one method, in turn; empty bytes are an empty message. */
async function serve(
  path: string,
  answers: (ServiceError | undefined)[],
  options: Partial<ConnectOptions> = {},
) {
  const calls: string[] = [];
  const server = new Server();
  const handle: handleUnaryCall<Buffer, Buffer> = (call, done: sendUnaryData<Buffer>) => {
    calls.push(String(call.metadata.get('token')[0] ?? ''));
    const error = answers.shift();
    if (error) done(error);
    else done(null, Buffer.alloc(0));
  };
  const same = (bytes: Buffer) => bytes;
  const codec = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService({ method: codec }, { method: handle });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const remote: RemoteEtcd = connectEtcd({ endpoints: [`127.0.0.1:${port}`], ...options });
  const close = () => {
    remote.close();
    server.forceShutdown();
  };
  return { calls, remote, close };
}

const unavailable = (details: string) => ({ code: 14, details }) as ServiceError;

test('a read is sent again while no member can serve it, a write is not', async () => {
  const read = await serve('/etcdserverpb.KV/Range', [
    unavailable('etcdserver: leader changed'),
    unavailable('etcdserver: request timed out'),
  ]);
  try {
    assert.equal((await read.remote.api.range({ key: utf8('a') })).count, 0);
    assert.equal(read.calls.length, 3);
  } finally {
    read.close();
  }
  const write = await serve('/etcdserverpb.KV/Put', [unavailable('etcdserver: request timed out')]);
  try {
    await assert.rejects(
      write.remote.api.put({ key: utf8('a') }),
      (error) => error instanceof KvError && error.code === 'TIMEOUT',
    );
    assert.equal(write.calls.length, 1);
  } finally {
    write.close();
  }
});

test('a transaction is sent again only when it reads and nothing else', async () => {
  const fails = () => [unavailable('etcdserver: leader changed')];
  const range = { type: 'range', range: { key: utf8('a') } } as const;
  const reads = await serve('/etcdserverpb.KV/Txn', fails());
  const writes = await serve('/etcdserverpb.KV/Txn', fails());
  try {
    await reads.remote.api.txn({ compare: [], success: [range], failure: [] });
    assert.equal(reads.calls.length, 2);
    const put = { type: 'put', put: { key: utf8('a') } } as const;
    await assert.rejects(writes.remote.api.txn({ compare: [], success: [range], failure: [put] }));
    assert.equal(writes.calls.length, 1);
  } finally {
    reads.close();
    writes.close();
  }
});

test('trying again ends with the deadline and with the signal', async () => {
  const forever = Array.from({ length: 1000 }, () => unavailable('etcdserver: leader changed'));
  const { remote, close } = await serve('/etcdserverpb.KV/Range', forever);
  try {
    const startedAt = performance.now();
    await assert.rejects(remote.api.range({ key: utf8('a') }, { timeoutMs: 150 }), KvError);
    assert.ok(performance.now() - startedAt < 1000);
    const abort = new AbortController();
    const call = remote.api.range({ key: utf8('a') }, { signal: abort.signal });
    setImmediate(() => abort.abort());
    await assert.rejects(call, (error) => error instanceof KvError && error.code === 'CANCELED');
  } finally {
    close();
  }
});

test("a caller's token is sent as it is, and its refusal told", async () => {
  const { calls, remote, close } = await serve('/etcdserverpb.KV/Range', [
    { code: 16, details: 'etcdserver: invalid auth token' } as ServiceError,
  ]);
  try {
    await assert.rejects(
      remote.api.range({ key: utf8('a') }, { token: 'mine' }),
      (error) => error instanceof KvError && error.code === 'INVALID_AUTH_TOKEN',
    );
    assert.deepEqual(calls, ['mine']);
  } finally {
    close();
  }
});

test('credentials that were refused are not tried again with every call', async () => {
  const refused = { code: 3, details: 'etcdserver: authentication failed, invalid user ID or password' };
  const { calls, remote, close } = await serve(
    '/etcdserverpb.Auth/Authenticate',
    Array.from({ length: 100 }, () => refused as ServiceError),
    { credentials: { name: 'u', password: 'wrong' } },
  );
  const isRefused = (error: unknown) => error instanceof KvError && error.code === 'AUTH_FAILED';
  try {
    await Promise.all(
      Array.from({ length: 20 }, () => assert.rejects(remote.api.range({ key: utf8('a') }), isRefused)),
    );
    for (let i = 0; i < 20; i++) await assert.rejects(remote.api.put({ key: utf8('a') }), isRefused);
    assert.ok(calls.length <= 2, `${calls.length} logins`);
  } finally {
    close();
  }
});
