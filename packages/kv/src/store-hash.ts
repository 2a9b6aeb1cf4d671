import { crc32c, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import type { HashKvResult } from './api.ts';
import { ByteWriter } from './byte-codec.ts';
import type { MvccStore } from './mvcc-store.ts';
import { type Change, decodeChange, decodeHead } from './records.ts';
import { revisionKey, revisionMain, revisionSub } from './revision.ts';
import type { KeyValue } from './types.ts';

const PREFIX = utf8('key');
const SEPARATOR = 0x5f;
const TOMBSTONE_MARK = 0x74;

const writer = new ByteWriter();

/**
 * etcd's HashKV: CRC-32C over "key" and, of each kept change up to `revision` (0 is the current one), etcd's revision
 * key and its protobuf KeyValue. It depends on the history and the compact revision alone, not on how much of a
 * compaction is done; members that agree have equal hashes, and so has a real etcd with the same history.
 *
 * Of changes at or below the compact revision only those count that compacting at `revision` would keep; when nothing
 * at all is alive at `revision`, those that the compaction kept (measured on etcd 3.4.23).
 */
export function hashKv(store: MvccStore, revision: number): HashKvResult {
  const at = revision <= 0 ? store.currentRevision : revision;
  const { compactRevision } = store;
  if (at > store.currentRevision) throw new KvError('FUTURE_REVISION', { extra: { compactRevision } });
  if (at < compactRevision) throw new KvError('COMPACTED', { extra: { compactRevision } });
  const keptAt = anyAlive(store, at) ? at : compactRevision;
  let hash = crc32c(PREFIX);
  for (const [key, record] of store.engine.iterate('revisions', { to: revisionKey(at + 1, 0) })) {
    const main = revisionMain(key);
    const sub = revisionSub(key);
    const change = decodeChange(main, record);
    if (main <= compactRevision && !isKept(store, change, main, sub, keptAt)) continue;
    writeEtcdRecord(change, main, sub);
    hash = crc32c(writer.take(), hash);
  }
  return { hash, compactRevision, hashRevision: at };
}

/** A hash of everything that is replicated: the kept history and whatever the callers adds in `rest`. */
export function hashWith(hash: number, rest: Iterable<readonly [Uint8Array, Uint8Array]>): number {
  let out = hash;
  for (const [key, value] of rest) {
    writer.bytes(key);
    writer.bytes(value);
    out = crc32c(writer.take(), out);
  }
  return out;
}

function anyAlive(store: MvccStore, revision: number): boolean {
  for (const [, record] of store.engine.iterate('keys')) {
    if (store.stateAt(decodeHead(record), revision) !== undefined) return true;
  }
  return false;
}

/** Whether a change is the newest of its key at `revision`, and not a deletion. */
function isKept(store: MvccStore, change: Change, main: number, sub: number, revision: number): boolean {
  if (change.deleted) return false;
  const head = store.head(change.kv.key);
  const newest = head === undefined ? undefined : store.newestAt(head, revision);
  return newest !== undefined && newest.main === main && newest.sub === sub;
}

function writeEtcdRecord({ deleted, kv }: Change, main: number, sub: number): void {
  writer.u64(BigInt(main));
  writer.u8(SEPARATOR);
  writer.u64(BigInt(sub));
  if (deleted) writer.u8(TOMBSTONE_MARK);
  writeEtcdKeyValue(deleted ? { ...kv, modRevision: 0 } : kv);
}

/** mvccpb.KeyValue in proto3: fields in order, zero values left out. */
function writeEtcdKeyValue(kv: KeyValue): void {
  writeBytesField(1, kv.key);
  writeNumberField(2, kv.createRevision);
  writeNumberField(3, kv.modRevision);
  writeNumberField(4, kv.version);
  writeBytesField(5, kv.value);
  if (kv.lease !== 0n) {
    writer.u8(6 << 3);
    let rest = BigInt.asUintN(64, kv.lease);
    for (; rest >= 0x80n; rest >>= 7n) writer.u8(Number(rest & 0x7fn) | 0x80);
    writer.u8(Number(rest));
  }
}

function writeBytesField(field: number, value: Uint8Array): void {
  if (value.length === 0) return;
  writer.u8((field << 3) | 2);
  writer.bytes(value);
}

function writeNumberField(field: number, value: number): void {
  if (value === 0) return;
  writer.u8(field << 3);
  writer.varint(value);
}
