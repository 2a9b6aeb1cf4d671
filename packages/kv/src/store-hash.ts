import { crc32c, utf8 } from '@muster/base';
import { KvError } from '@muster/contract';
import type { HashKvResult } from './api.ts';
import { ByteWriter } from './byte-codec.ts';
import type { EngineReader } from './engine.ts';
import { etcdKeyValue, etcdRevisionKey } from './etcd-records.ts';
import { MvccReader } from './mvcc-store.ts';
import { type Change, decodeChange, decodeHead } from './records.ts';
import { revisionKey, revisionMain, revisionSub } from './revision.ts';
import { encodeStoreMeta, readStoreMeta, STORE_META_KEY, type StoreMeta } from './state-records.ts';

/** Records looked at between two yields: well below a millisecond of work. */
const RECORDS_PER_STEP = 64;
const PREFIX = utf8('key');

const writer = new ByteWriter();

/** Work in small steps, with its result at the end. */
export type Steps<T> = Generator<void, T>;

/**
 * etcd's HashKV: CRC-32C over "key" and, of each kept change up to `revision` (0 is the current one), etcd's revision
 * key and its protobuf KeyValue. It depends on the history and the compact revision alone, not on how much of a
 * compaction is done; members that agree have equal hashes, and so has a real etcd with the same history.
 *
 * Of changes at or below the compact revision only those count that compacting at `revision` would keep; when nothing
 * at all is alive at `revision`, those that the compaction kept (measured on etcd 3.4.23).
 *
 * Steps may be turns apart when `reader` is a view. Throws `FUTURE_REVISION` or `COMPACTED`.
 */
export function* hashKvSteps(
  reader: EngineReader,
  meta: Pick<StoreMeta, 'currentRevision' | 'compactRevision'>,
  revision: number,
): Steps<HashKvResult> {
  const { currentRevision, compactRevision } = meta;
  const at = revision <= 0 ? currentRevision : revision;
  if (at > currentRevision) throw new KvError('FUTURE_REVISION', { extra: { compactRevision } });
  if (at < compactRevision) throw new KvError('COMPACTED', { extra: { compactRevision } });
  const store = new MvccReader(reader);
  const keptAt = (yield* anyAlive(store, at)) ? at : compactRevision;
  let hash = crc32c(PREFIX);
  let looked = 0;
  for (const [key, record] of reader.iterate('revisions', { to: revisionKey(at + 1, 0) })) {
    if (++looked % RECORDS_PER_STEP === 0) yield;
    const main = revisionMain(key);
    const sub = revisionSub(key);
    const change = decodeChange(main, record);
    if (main <= compactRevision && !isKept(store, change, main, sub, keptAt)) continue;
    hash = crc32c(etcdRevisionKey({ main, sub }, change.deleted), hash);
    hash = crc32c(etcdKeyValue(change.kv, change.deleted), hash);
  }
  return { hash, compactRevision, hashRevision: at };
}

/** The same of a view, which knows its own revisions. */
export function hashKvOfView(view: EngineReader, revision: number): Steps<HashKvResult> {
  return hashKvSteps(view, readStoreMeta(view), revision);
}

/** A hash of everything that is replicated, equal on members that have applied the same. */
export function* storeHashSteps(reader: EngineReader, meta: StoreMeta): Steps<number> {
  const { hash } = yield* hashKvSteps(reader, meta, 0);
  // How far a compaction has come is each member's own affair.
  let all = withRecord(
    hash,
    STORE_META_KEY,
    encodeStoreMeta({ ...meta, finishedRevision: 0, compaction: undefined }),
  );
  let looked = 0;
  for (const table of ['leases', 'members', 'alarms', 'auth'] as const) {
    for (const [key, value] of reader.iterate(table)) {
      if (++looked % RECORDS_PER_STEP === 0) yield;
      all = withRecord(all, key, value);
    }
  }
  return all;
}

export function storeHashOfView(view: EngineReader): Steps<number> {
  return storeHashSteps(view, readStoreMeta(view));
}

/** All of it now. */
export function runSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

function withRecord(hash: number, key: Uint8Array, value: Uint8Array): number {
  writer.bytes(key);
  writer.bytes(value);
  return crc32c(writer.take(), hash);
}

function* anyAlive(store: MvccReader, revision: number): Steps<boolean> {
  let looked = 0;
  for (const [, record] of store.engine.iterate('keys')) {
    if (++looked % RECORDS_PER_STEP === 0) yield;
    if (store.stateAt(decodeHead(record), revision) !== undefined) return true;
  }
  return false;
}

/** Whether a change is the newest of its key at `revision`, and not a deletion. */
function isKept(store: MvccReader, change: Change, main: number, sub: number, revision: number): boolean {
  if (change.deleted) return false;
  const head = store.head(change.kv.key);
  const newest = head === undefined ? undefined : store.newestAt(head, revision);
  return newest !== undefined && newest.main === main && newest.sub === sub;
}
