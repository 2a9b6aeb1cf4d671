import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { BackendImport } from './etcd-import.ts';
import { BackendDamaged } from './etcd-proto.ts';
import { etcdKeyValue, etcdLease } from './etcd-records.ts';
import { MemoryEngine } from './memory-engine.ts';

const u64 = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
};

test('a revision of authentication beyond 2^53 is damage', () => {
  const into = new BackendImport(new MemoryEngine());
  into.add('auth', utf8('authRevision'), u64(0xff00_0000_0000_0001n));
  assert.throws(() => into.finish({ members: [] }), BackendDamaged);
});

test('a revision at which writes would soon come to an end is damage, added ones included', () => {
  const at = (main: bigint, bumpRevision: number): void => {
    const into = new BackendImport(new MemoryEngine());
    const key = Uint8Array.of(...u64(main), 0x5f, ...u64(0n));
    const kv = { key: utf8('k'), value: utf8('v'), createRevision: 2, version: 1, lease: 0n };
    into.add('key', key, etcdKeyValue({ ...kv, modRevision: Number(main) }, false));
    into.finish({ members: [], bumpRevision });
  };
  at(2n ** 52n, 0);
  assert.throws(() => at(2n ** 52n, 1), BackendDamaged);
  assert.throws(() => at(2n ** 53n - 1n, 1000), BackendDamaged);
});

test('keys of leases that are gone are attached to nothing, and stay', () => {
  const engine = new MemoryEngine();
  const into = new BackendImport(engine);
  const names: string[] = [];
  for (let main = 2n; main < 2504n; main++) {
    const name = `k${String(main).padStart(5, '0')}`;
    names.push(name);
    // Of three leases in turn only the second is there.
    const kv = { key: utf8(name), value: utf8('v'), createRevision: Number(main), version: 1 };
    const key = Uint8Array.of(...u64(main), 0x5f, ...u64(0n));
    const lease = (main % 3n) + 5n;
    into.add('key', key, etcdKeyValue({ ...kv, modRevision: Number(main), lease }, false));
  }
  into.add('lease', u64(6n), etcdLease({ id: 6n, ttlSeconds: 60, remainingTtlSeconds: 0 }));
  into.finish({ members: [] });
  const attached = [...engine.iterate('leaseKeys')].map(([key]) => utf8Text(key.subarray(8)));
  assert.deepEqual(
    attached,
    names.filter((_, i) => (i + 2) % 3 === 1),
  );
  assert.equal([...engine.iterate('keys')].length, names.length);
});
