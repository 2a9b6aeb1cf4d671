/**
 * The replicated state as the buckets of etcd's backend file, which its own tools and servers read (reference 5.4, 8.7):
 * records one by one, in the order of the file.
 */
import { compareBytes, utf8 } from '@muster/base';
import type { EngineReader, Entry } from './engine.ts';
import { authBuckets } from './etcd-auth.ts';
import { etcdAlarm, etcdKeyValue, etcdLease, etcdRevisionKey } from './etcd-records.ts';
import { decodeChange } from './records.ts';
import { revisionMain, revisionSub } from './revision.ts';
import {
  alarmOfKey,
  decodeLease,
  decodeMember,
  FIRST_REVISION,
  idOfKey,
  type MemberRecord,
  readStoreMeta,
} from './state-records.ts';

/** Keys ascend. Those of no entries are there too: etcd expects all of its buckets. */
export type BackendBucket = { readonly name: string; readonly entries: Iterable<Entry> };

/** What the file says that the tables do not. */
export type BackendStamp = {
  readonly index: number;
  readonly term: number;
  readonly voters: readonly bigint[];
  readonly learners: readonly bigint[];
  /** Such as `3.6.0`. */
  readonly clusterVersion: string;
  readonly storageVersion: string;
};

const NOTHING = new Uint8Array(0);

/** All buckets in the order of their names. Entries may be read over many turns when `reader` is a view. */
export function etcdBuckets(reader: EngineReader, stamp: BackendStamp): readonly BackendBucket[] {
  const auth = authBuckets(reader);
  return [
    { name: 'alarm', entries: alarms(reader) },
    { name: 'auth', entries: auth.auth },
    { name: 'authRoles', entries: auth.roles },
    { name: 'authUsers', entries: auth.users },
    { name: 'cluster', entries: [[utf8('clusterVersion'), utf8(stamp.clusterVersion)]] },
    { name: 'key', entries: revisions(reader) },
    { name: 'lease', entries: leases(reader) },
    { name: 'members', entries: members(reader, false) },
    { name: 'members_removed', entries: members(reader, true) },
    { name: 'meta', entries: meta(reader, stamp) },
  ];
}

function* revisions(reader: EngineReader): Generator<Entry> {
  let newest = 0;
  for (const [key, record] of reader.iterate('revisions')) {
    const main = revisionMain(key);
    const { deleted, kv } = decodeChange(main, record);
    newest = main;
    yield [etcdRevisionKey({ main, sub: revisionSub(key) }, deleted), etcdKeyValue(kv, deleted)];
  }
  // etcd takes the current revision from the newest record. Where a restore has moved it on, an empty record says so.
  const { currentRevision, finishedRevision } = readStoreMeta(reader);
  if (currentRevision > Math.max(FIRST_REVISION, newest, finishedRevision)) {
    yield [etcdRevisionKey({ main: currentRevision, sub: 0 }), NOTHING];
  }
}

function* leases(reader: EngineReader): Generator<Entry> {
  for (const [key, record] of reader.iterate('leases')) {
    yield [key, etcdLease({ id: idOfKey(key), ...decodeLease(record) })];
  }
}

const REMOVED = utf8('removed');

function alarms(reader: EngineReader): Entry[] {
  const found = [...reader.iterate('alarms')].map(([key]): Entry => [etcdAlarm(alarmOfKey(key)), NOTHING]);
  return found.sort((a, b) => compareBytes(a[0], b[0]));
}

function* members(reader: EngineReader, removed: boolean): Generator<Entry> {
  for (const [key, record] of reader.iterate('members')) {
    const id = idOfKey(key);
    const member = decodeMember(id, record);
    if (member.removed !== removed) continue;
    yield [utf8(idName(id)), removed ? REMOVED : utf8(memberJson(member))];
  }
}

/** The same digits for every id, so that they sort as the ids do. */
function idName(id: bigint): string {
  return id.toString(16).padStart(16, '0');
}

function memberJson({ id, peerUrls, name, clientUrls, isLearner }: MemberRecord): string {
  const parts = [`"id":${id}`, `"peerURLs":${goJson(peerUrls)}`];
  if (isLearner) parts.push('"isLearner":true');
  if (name !== '') parts.push(`"name":${goJson(name)}`);
  if (clientUrls.length > 0) parts.push(`"clientURLs":${goJson(clientUrls)}`);
  return `{${parts.join(',')}}`;
}

/** Go's encoder escapes what HTML could take for its own. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function meta(reader: EngineReader, stamp: BackendStamp): Entry[] {
  const { compactRevision, finishedRevision } = readStoreMeta(reader);
  const confState = {
    voters: stamp.voters,
    ...(stamp.learners.length > 0 && { learners: stamp.learners }),
    auto_leave: false,
  };
  const entries: Entry[] = [
    [utf8('confState'), utf8(bigJson(confState))],
    [utf8('consistent_index'), number(stamp.index)],
  ];
  if (finishedRevision >= 0)
    entries.push([utf8('finishedCompactRev'), etcdRevisionKey({ main: finishedRevision, sub: 0 })]);
  if (compactRevision >= 0)
    entries.push([utf8('scheduledCompactRev'), etcdRevisionKey({ main: compactRevision, sub: 0 })]);
  entries.push([utf8('storageVersion'), utf8(stamp.storageVersion)], [utf8('term'), number(stamp.term)]);
  return entries;
}

/** With 64-bit numbers as they are. */
function bigJson(value: object): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}n` : v)).replace(
    /"(\d+)n"/g,
    '$1',
  );
}

function number(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}
