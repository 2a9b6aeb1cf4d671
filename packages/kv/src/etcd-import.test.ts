import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '@muster/base';
import { BackendImport } from './etcd-import.ts';
import { BackendDamaged } from './etcd-proto.ts';
import { etcdKeyValue } from './etcd-records.ts';
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
