/** The way back from etcd's backend file: its buckets, in their order, into the tables of an engine. */
import { utf8Text } from '@muster/base';
import type { Engine, Entry } from './engine.ts';
import { authStateRecord, roleRecord, userRecord } from './etcd-auth.ts';
import { BackendDamaged } from './etcd-proto.ts';
import { parseAlarm, parseKeyValue, parseLease, parseRevisionKey } from './etcd-records.ts';
import { attachmentKey, leaseOfAttachment } from './lease-table.ts';
import { decodeHead, encodeChange, encodeHead, type KeyHead, nextHead } from './records.ts';
import { type Revision, revisionKey } from './revision.ts';
import {
  alarmKey,
  encodeLease,
  encodeMember,
  encodeStoreMeta,
  FIRST_REVISION,
  idKey,
  NEVER_COMPACTED,
  STORE_META_KEY,
} from './state-records.ts';
import type { KeyValue, MemberInfo } from './types.ts';

const NOTHING = new Uint8Array(0);
/** Above this a file is damaged, and writes that follow would soon not be numbers any more. */
const REVISION_MAX = 2 ** 52;
/** Attachments collected before they are removed. */
const ORPHANS_AT_ONCE = 1000;

export type ImportOptions = {
  /** Takes the place of the members that the file knows. */
  readonly members: readonly MemberInfo[];
  /** Added to the current revision, so that no revision means two things to those who watched the old cluster. */
  readonly bumpRevision?: number;
  /** Everything up to the current revision counts as compacted: watches that resume below it are told so. */
  readonly markCompacted?: boolean;
};

/**
 * Fills an empty engine. Buckets may come in any order, their entries in that of their keys. The caller seals units as
 * it likes between entries; `finish` writes what remains. Throws `BackendDamaged` on content that etcd cannot have
 * written.
 */
export class BackendImport {
  readonly #engine: Engine;
  #auth: Entry[] = [];
  #last: Revision = { main: 0, sub: -1 };
  #finished = NEVER_COMPACTED;
  #scheduled = NEVER_COMPACTED;
  /** Keys and revisions taken in. */
  records = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  add(bucket: string, key: Uint8Array, value: Uint8Array): void {
    this.records++;
    switch (bucket) {
      case 'key':
        return this.#revision(parseRevisionKey(key), value);
      case 'lease':
        return this.#lease(value);
      case 'alarm':
        return this.#engine.put('alarms', alarmKey(parseAlarm(key)), NOTHING);
      case 'auth':
        this.#auth.push([key.slice(), value.slice()]);
        return;
      case 'authUsers':
        return this.#engine.put('auth', ...userRecord(value));
      case 'authRoles':
        return this.#engine.put('auth', ...roleRecord(value));
      case 'meta':
        return this.#meta(utf8Text(key), value);
      // The members are new ones, and the cluster's version is that of its members.
      default:
        return;
    }
  }

  /** The revision that the store stands at. */
  finish(options: ImportOptions): number {
    const state = authStateRecord(this.#auth);
    if (state) this.#engine.put('auth', ...state);
    for (const member of options.members) {
      this.#engine.put('members', idKey(member.id), encodeMember({ ...member, removed: false }));
    }
    this.#detachOrphans();
    const restored = Math.max(FIRST_REVISION, this.#last.main, this.#finished);
    const currentRevision = restored + (options.bumpRevision ?? 0);
    const scheduled = Math.max(this.#scheduled, this.#finished);
    const target = options.markCompacted ? currentRevision : scheduled;
    if (target > currentRevision) {
      throw new BackendDamaged(
        `compacted at revision ${target}, but the newest revision is ${currentRevision}`,
      );
    }
    if (currentRevision > REVISION_MAX) {
      throw new BackendDamaged(`revision ${currentRevision} is larger than any that there can be`);
    }
    const isDone = target === this.#finished;
    const cursor = { main: Math.max(0, this.#finished), sub: 0 };
    this.#engine.put(
      'meta',
      STORE_META_KEY,
      encodeStoreMeta({
        currentRevision,
        compactRevision: target,
        finishedRevision: this.#finished,
        compaction: isDone ? undefined : { target, cursor },
      }),
    );
    return currentRevision;
  }

  #revision(at: Revision & { readonly deleted: boolean }, value: Uint8Array): void {
    const last = this.#last;
    if (at.main < last.main || (at.main === last.main && at.sub <= last.sub)) {
      throw new BackendDamaged(`revision ${at.main}/${at.sub} comes after ${last.main}/${last.sub}`);
    }
    this.#last = { main: at.main, sub: at.sub };
    // Without content it only says how far the revisions have come: see `etcdBuckets`.
    if (value.length > 0) this.#change(at, parseKeyValue(value));
  }

  #change(at: Revision & { readonly deleted: boolean }, kv: KeyValue): void {
    if (!at.deleted && kv.modRevision !== at.main) {
      throw new BackendDamaged(`the record of revision ${at.main} says that it is of ${kv.modRevision}`);
    }
    const engine = this.#engine;
    const record = engine.get('keys', kv.key);
    const parent = record === undefined ? undefined : decodeHead(record);
    const { createRevision, version } = kv;
    const lease = at.deleted ? 0n : kv.lease;
    const state = at.deleted
      ? { deleted: true, createRevision: 0, version: 0, lease: 0n }
      : { deleted: false, createRevision, version, lease };
    const head = nextHead(parent, this.#last, state);
    engine.put('revisions', revisionKey(at.main, at.sub), encodeChange(head, parent, kv.key, kv.value));
    engine.put('keys', kv.key, encodeHead(head));
    this.#attach(kv.key, parent, lease);
  }

  #attach(key: Uint8Array, parent: KeyHead | undefined, lease: bigint): void {
    const before = parent?.lease ?? 0n;
    if (before === lease) return;
    if (before !== 0n) this.#engine.delete('leaseKeys', attachmentKey(before, key));
    if (lease !== 0n) this.#engine.put('leaseKeys', attachmentKey(lease, key), NOTHING);
  }

  /**
   * A file may hold keys of leases that it does not. They stay, as in etcd, and nothing ends them: a later lease of the
   * same id must not.
   */
  #detachOrphans(): void {
    let from: Uint8Array | undefined = NOTHING;
    while (from !== undefined) {
      const orphans: Uint8Array[] = [];
      for (const [key] of this.#engine.iterate('leaseKeys', { from })) {
        if (this.#engine.get('leases', leaseOfAttachment(key)) === undefined) orphans.push(key.slice());
        if (orphans.length === ORPHANS_AT_ONCE) break;
      }
      for (const key of orphans) this.#engine.delete('leaseKeys', key);
      from = orphans.length === ORPHANS_AT_ONCE ? orphans.at(-1) : undefined;
    }
  }

  #lease(value: Uint8Array): void {
    const lease = parseLease(value);
    if (lease.id === 0n) throw new BackendDamaged('a lease without an id');
    this.#engine.put('leases', idKey(lease.id), encodeLease(lease));
  }

  #meta(name: string, value: Uint8Array): void {
    if (name === 'finishedCompactRev') this.#finished = parseRevisionKey(value).main;
    if (name === 'scheduledCompactRev') this.#scheduled = parseRevisionKey(value).main;
  }
}
