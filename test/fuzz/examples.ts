/** Right values, for the bytes that are then made almost right. */
import { type Prng, utf8 } from '@muster/base';
import { type Command, etcdBuckets, MemoryEngine, StateMachine, type TxnRequest } from '@muster/kv';
import { BoltWriter } from '../../packages/disk/src/bolt/writer.ts';
import { BlockWriter, encodeSnapshotHeader } from '../../packages/disk/src/snapshot-format.ts';
import type { LeaderAnswer, LeaderCall } from '../../packages/member/src/leader-calls.ts';
import { joined, randomBytes } from './mutate.ts';

export function leaderCall(prng: Prng): LeaderCall {
  const id = prng.uint64();
  const type = prng.pick(['keepAlive', 'timeToLive', 'isKnown', 'learnerReady', 'hashKv'] as const);
  return type === 'timeToLive' ? { type, id, keys: prng.chance(0.5) } : { type, id };
}

export function leaderAnswer(prng: Prng): LeaderAnswer {
  const ttlSeconds = prng.int(-1, 2 ** 31);
  switch (prng.int(0, 6)) {
    case 0:
      return { type: 'keepAlive', ttlSeconds };
    case 1: {
      const keys = Array.from({ length: prng.int(0, 4) }, () => randomBytes(prng, 30));
      return { type: 'timeToLive', ttlSeconds, grantedTtlSeconds: 5, keys };
    }
    case 2:
      return {
        type: 'isKnown',
        known: prng.chance(0.5),
        index: prng.int(0, 99),
        voters: [1n, prng.uint64()],
      };
    case 3:
      return { type: 'learnerReady', ready: prng.chance(0.5) };
    case 4:
      return { type: 'error', code: prng.pick(['EMPTY_KEY', 'INTERNAL', 'CANCELED']) };
    default:
      return { type: 'hashKv', result: { hash: prng.uint32(), compactRevision: -1, hashRevision: 7 } };
  }
}

export function command(prng: Prng): Command {
  const [key, value] = [randomBytes(prng, 40), randomBytes(prng, 80)];
  const id = BigInt.asIntN(64, prng.uint64());
  const name = prng.pick(['', 'ann', '\u{1f4a3}', 'x'.repeat(300)]);
  return prng.pick<Command>([
    { type: 'put', put: { key, value, lease: 7n, prevKv: true } },
    { type: 'deleteRange', deleteRange: { key, rangeEnd: value } },
    { type: 'txn', txn: txn(prng, 2) },
    { type: 'compact', revision: prng.int(-5, 1000), physical: true },
    { type: 'leaseGrant', id, ttlSeconds: prng.int(-1, 2 ** 31) },
    { type: 'leaseCheckpoint', checkpoints: [{ id, remainingTtlSeconds: 5 }] },
    { type: 'alarm', action: 'activate', memberId: prng.uint64(), alarm: 'nospace' },
    { type: 'memberAttributes', id: prng.uint64(), name, clientUrls: ['http://a:1', name] },
    { type: 'memberAdd', id: prng.uint64(), peerUrls: [name], isLearner: true, learnersMax: 1 },
    { type: 'memberUpdate', id: prng.uint64(), peerUrls: [] },
    { type: 'authenticate', name, token: 'abc', authRevision: 4 },
    { type: 'userAdd', name, hashedPassword: '$2b$', noPassword: false },
    { type: 'roleGrantPermission', name, permission: { type: 'readwrite', key, rangeEnd: value } },
    { type: 'noop' },
  ]);
}

function txn(prng: Prng, depth: number): TxnRequest {
  const key = randomBytes(prng, 10);
  const operand = { kind: 'mod', number: prng.int(-3, 99) } as const;
  const range = { key, limit: prng.int(0, 99), sortOrder: 'descend', minModRevision: 3 } as const;
  return {
    compare: [
      { key, target: 'mod', result: 'greater', operand },
      { key, rangeEnd: key, target: 99 as never, result: 'equal' },
    ],
    success: [
      { type: 'range', range },
      { type: 'put', put: { key } },
    ],
    failure: depth > 0 ? [{ type: 'txn', txn: txn(prng, depth - 1) }] : [{ type: 'none' }],
  };
}

/** An image of the state as members send it to each other. */
export function image(prng: Prng): Uint8Array {
  const header = encodeSnapshotHeader(prng.int(0, 2 ** 31));
  const writer = new BlockWriter(header);
  const parts: Uint8Array[] = [header];
  for (let n = prng.int(0, 6); n > 0; n--) {
    writer.add(prng.int(0, 9), randomBytes(prng, 40), randomBytes(prng, 200));
    if (prng.chance(0.3)) parts.push(writer.take().slice());
  }
  parts.push(writer.take().slice(), writer.end());
  return joined(...parts);
}

let written: Buffer | undefined;

/** The same file every time: every bucket, pages that go on, branches. */
export function boltFile(): Buffer {
  if (written === undefined) written = writeBolt();
  return written;
}

function writeBolt(): Buffer {
  const engine = new MemoryEngine();
  const machine = new StateMachine(engine, { minLeaseTtlSeconds: 2 });
  const put = (n: number): Command => {
    const value = new Uint8Array(n === 9 ? 9000 : n);
    return { type: 'put', put: { key: utf8(`key ${n % 50}`), value, lease: n % 3 === 0 ? 77n : 0n } };
  };
  const permission = { type: 'readwrite', key: utf8('a'), rangeEnd: utf8('b') } as const;
  const commands: readonly Command[] = [
    { type: 'leaseGrant', id: 77n, ttlSeconds: 100 },
    { type: 'leaseCheckpoint', checkpoints: [{ id: 77n, remainingTtlSeconds: 50 }] },
    ...Array.from({ length: 120 }, (_, n) => put(n)),
    { type: 'deleteRange', deleteRange: { key: utf8('key 1'), rangeEnd: utf8('key 2') } },
    { type: 'compact', revision: 20, physical: false },
    { type: 'roleAdd', name: 'reader' },
    { type: 'roleGrantPermission', name: 'reader', permission },
    { type: 'userAdd', name: 'ann', hashedPassword: '$2b$10$abc', noPassword: false },
    { type: 'userGrantRole', user: 'ann', role: 'reader' },
    { type: 'alarm', action: 'activate', memberId: 9n, alarm: 'nospace' },
  ];
  for (const one of commands) machine.apply(one);
  machine.flushMeta();
  engine.commit(1);
  const versions = { clusterVersion: '3.6.0', storageVersion: '3.6.0' };
  const stamp = { index: 9, term: 2, voters: [1n], learners: [], ...versions };
  const writer = new BoltWriter();
  for (const { name, entries } of etcdBuckets(engine, stamp)) {
    writer.beginBucket(Buffer.from(name));
    for (const [key, value] of entries) writer.add(key, value);
    writer.endBucket();
  }
  const head = writer.finish();
  return Buffer.concat([head, writer.take()]);
}
