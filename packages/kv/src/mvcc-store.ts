import { assert } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Engine, EngineReader } from './engine.ts';
import type { LeaseTable } from './lease-table.ts';
import {
  type ChainLinks,
  type Change,
  decodeChange,
  decodeHead,
  decodeLinks,
  encodeChange,
  encodeHead,
  type HeadState,
  type KeyHead,
  nextHead,
} from './records.ts';
import { type Revision, revisionKey } from './revision.ts';
import { FIRST_REVISION, NEVER_COMPACTED } from './state-records.ts';
import { StoreCounters } from './store-counters.ts';
import type { Event, KeyValue } from './types.ts';

const NO_VALUE = new Uint8Array(0);

/** Reads at any kept revision of the key space, out of an engine or a view of one. */
export class MvccReader {
  readonly engine: EngineReader;
  currentRevision = FIRST_REVISION;
  compactRevision = NEVER_COMPACTED;

  constructor(engine: EngineReader) {
    this.engine = engine;
  }

  /** The newest record of a key, deleted or not. */
  head(key: Uint8Array): KeyHead | undefined {
    const record = this.engine.get('keys', key);
    return record === undefined ? undefined : decodeHead(record);
  }

  /** The newest record of a key unless that is a deletion. */
  liveHead(key: Uint8Array): KeyHead | undefined {
    const head = this.head(key);
    return head?.deleted ? undefined : head;
  }

  /** The key-value that a live head stands for. */
  valueOf(head: KeyHead): KeyValue {
    return (this.#changeAt(head) as Change).kv;
  }

  /** The key's state at `revision`, which must not be below the compact revision; `head` is its newest record. */
  stateAt(head: KeyHead, revision: number): KeyValue | undefined {
    if (head.main <= revision) return head.deleted ? undefined : this.valueOf(head);
    const at = this.newestAt(head, revision);
    const change = at === undefined ? undefined : this.#changeAt(at);
    return change === undefined || change.deleted ? undefined : change.kv;
  }

  /** The state before revision `main` of a key whose record there has `prev` before it, if that is still kept. */
  stateBefore(main: number, prev: Revision | undefined): KeyValue | undefined {
    let at = prev;
    // A transaction may have changed the key more than once.
    while (at !== undefined && at.main === main) at = this.#linksAt(at).prev;
    const change = at === undefined ? undefined : this.#changeAt(at);
    return change === undefined || change.deleted ? undefined : change.kv;
  }

  /** Refuses a revision that cannot be read. */
  checkReadable(revision: number): void {
    if (revision > this.currentRevision) throw new KvError('FUTURE_REVISION', this.#at());
    if (revision < this.compactRevision) throw new KvError('COMPACTED', this.#at());
  }

  #at(): { extra: Record<string, unknown> } {
    return { extra: { compactRevision: this.compactRevision, revision: this.currentRevision } };
  }

  /**
   * Where the newest record at or below `revision` is, or was: a deletion may be compacted away. `head` is the key's
   * newest record. Walks back by skip pointers.
   */
  newestAt(head: KeyHead, revision: number): Revision | undefined {
    if (head.main <= revision) return head;
    let next = skipTo(head, revision) ?? this.#linksAt(head).prev;
    while (next !== undefined && next.main > revision) {
      const links: ChainLinks = this.#linksAt(next);
      next = skipTo(links, revision) ?? links.prev;
    }
    return next;
  }

  #changeAt(at: Revision): Change | undefined {
    const record = this.engine.get('revisions', revisionKey(at.main, at.sub));
    return record === undefined ? undefined : decodeChange(at.main, record);
  }

  /** Of a record that must be there: it is newer than a revision that can be read. */
  #linksAt(at: Revision): ChainLinks {
    const record = this.engine.get('revisions', revisionKey(at.main, at.sub));
    assert(
      record !== undefined,
      () => `record ${at.main}/${at.sub} is gone, compacted at ${this.compactRevision}`,
    );
    return decodeLinks(at.main, record);
  }
}

/** The revisioned key space over an Engine: reads at any kept revision, and the writing of one revision at a time. */
export class MvccStore extends MvccReader {
  declare readonly engine: Engine;
  readonly leases: LeaseTable;
  readonly counters = new StoreCounters();
  /** Events carry `prevKv` only while this is true: it costs one read for each change of a live key. */
  wantPrevValues = true;

  constructor(engine: Engine, leases: LeaseTable) {
    super(engine);
    this.leases = leases;
  }
}

/** The farthest step back that does not pass below `revision`; to its very record is the last step's business. */
function skipTo(skips: Pick<ChainLinks, 'skipShort' | 'skipLong'>, revision: number): Revision | undefined {
  if (skips.skipLong !== undefined && skips.skipLong.main > revision) return skips.skipLong;
  if (skips.skipShort !== undefined && skips.skipShort.main > revision) return skips.skipShort;
  return undefined;
}

/** The writing of one revision: every change gets the same main revision and the next sub-revision. */
export class RevisionWriter {
  readonly main: number;
  readonly events: Event[] = [];
  readonly #store: MvccStore;

  constructor(store: MvccStore) {
    this.#store = store;
    this.main = store.currentRevision + 1;
  }

  /** True once something was changed. */
  get dirty(): boolean {
    return this.events.length > 0;
  }

  /** The revision that a reader inside this write sees. */
  get visibleRevision(): number {
    return this.dirty ? this.main : this.#store.currentRevision;
  }

  /** Returns the value just before, when `wantBefore`. `head` is the key's newest record. */
  put(
    key: Uint8Array,
    value: Uint8Array,
    lease: bigint,
    head: KeyHead | undefined,
    wantBefore: boolean,
  ): KeyValue | undefined {
    const live = head !== undefined && !head.deleted;
    const state = {
      deleted: false,
      createRevision: live ? head.createRevision : this.main,
      version: live ? head.version + 1 : 1,
      lease,
    };
    const before = this.#write('put', key, value, state, head, wantBefore);
    const oldLease = live ? head.lease : 0n;
    if (oldLease !== lease) {
      if (oldLease !== 0n) this.#store.leases.detach(oldLease, key);
      if (lease !== 0n) this.#store.leases.attach(lease, key);
    }
    return before;
  }

  /** Writes a tombstone over a live head. Returns the value just before, when `wantBefore`. */
  delete(key: Uint8Array, head: KeyHead, wantBefore: boolean): KeyValue | undefined {
    assert(!head.deleted, () => `deleting a key that is deleted since ${head.main}`);
    const before = this.#write('delete', key, NO_VALUE, TOMBSTONE, head, wantBefore);
    if (head.lease !== 0n) this.#store.leases.detach(head.lease, key);
    return before;
  }

  /** Makes the revision the store's current one, if anything was changed. */
  finish(): number {
    if (this.dirty) this.#store.currentRevision = this.main;
    return this.#store.currentRevision;
  }

  #write(
    type: Event['type'],
    key: Uint8Array,
    value: Uint8Array,
    state: HeadState,
    parent: KeyHead | undefined,
    wantBefore: boolean,
  ): KeyValue | undefined {
    const { engine, wantPrevValues, counters } = this.#store;
    if (type === 'put') {
      counters.puts++;
      counters.putBytes += key.length + value.length;
    } else counters.deletes++;
    const readBefore = (wantBefore || wantPrevValues) && parent !== undefined && !parent.deleted;
    const before = readBefore ? this.#store.valueOf(parent) : undefined;
    // An event's previous value is of an earlier revision, `before` may be of an earlier operation of this one.
    const prevKv = parent?.main === this.main ? this.#store.stateBefore(this.main, parent) : before;
    const next = nextHead(parent, { main: this.main, sub: this.events.length }, state);
    const record = encodeChange(next, parent, key, value);
    engine.put('revisions', revisionKey(next.main, next.sub), record);
    engine.put('keys', key, encodeHead(next));
    // Views into the new record: the request's own buffer may be large and must not be kept alive by an event.
    const valueAt = record.length - value.length;
    const kv: KeyValue = {
      key: record.subarray(valueAt - key.length, valueAt),
      value: record.subarray(valueAt),
      createRevision: next.createRevision,
      modRevision: next.main,
      version: next.version,
      lease: next.lease,
    };
    const withPrev = wantPrevValues && prevKv !== undefined;
    this.events.push(withPrev ? { type, kv, prevKv } : { type, kv });
    return wantBefore ? before : undefined;
  }
}

const TOMBSTONE: HeadState = { deleted: true, createRevision: 0, version: 0, lease: 0n };
