import { KvError } from '@muster/contract';
import type { Event, KeyValue, RequestOp } from '@muster/kv';
import type { EtcdClient } from '../client.ts';
import { connectDestination } from '../destination.ts';
import { watchMessages } from '../events.ts';
import { badArgs, Failure } from '../failure.ts';
import { copyAuth } from '../import/auth.ts';
import { stateBatches } from '../import/batches.ts';
import { ImportedLeases } from '../import/leases.ts';
import { type Marker, MarkerKey } from '../import/marker.ts';
import {
  type KeyRange,
  pagesByChange,
  pagesByKey,
  rangeOfPrefix,
  type SourceState,
  sourceState,
} from '../import/source.ts';
import { ImportTarget } from '../import/target.ts';
import { verifySame } from '../import/verify.ts';
import type { Call, Run } from '../line/command.ts';
import { idText } from '../print/cluster-views.ts';
import { canceledWatchText } from '../print/kv-views.ts';
import { bar, type Progress, progressLine } from '../progress.ts';
import { byRevision, operationOf } from '../replay.ts';
import type { IMPORT_FLAGS } from '../tree/other.ts';

type ImportCall = Call<typeof IMPORT_FLAGS>;

/** The marker is one. */
const OPS_MIN = 2;

export const importCluster: Run<typeof IMPORT_FLAGS> = async (call) => {
  const { args, flags, signal } = call;
  const [destination] = args;
  if (destination === undefined || args.length !== 1) throw badArgs('import takes one destination argument');
  if (flags['max-txn-ops'] < OPS_MIN) throw badArgs(`--max-txn-ops: expected at least ${OPS_MIN}`);
  const source = await call.connect();
  const target = await connectDestination(call, destination);
  const state = await sourceState(source, signal);
  const copy = new Importer(call, source, target, state);
  const stop = new AbortController();
  const renewing = copy.leases.keepAlive(AbortSignal.any([signal, stop.signal]));
  try {
    await copy.run();
  } finally {
    stop.abort();
    await renewing;
  }
};

class Importer {
  readonly leases: ImportedLeases;
  readonly #call: ImportCall;
  readonly #source: EtcdClient;
  readonly #target: EtcdClient;
  readonly #state: SourceState;
  readonly #range: KeyRange;
  readonly #markerKey: MarkerKey;
  readonly #writes: ImportTarget;
  readonly #progress: Progress;
  #marker: Marker;

  constructor(call: ImportCall, source: EtcdClient, target: EtcdClient, state: SourceState) {
    const { flags, signal } = call;
    this.#call = call;
    this.#source = source;
    this.#target = target;
    this.#state = state;
    this.#range = rangeOfPrefix(flags.prefix);
    const id = idText(state.clusterId);
    this.#markerKey = new MarkerKey(target, flags.marker === '' ? `/muster/import/${id}` : flags.marker);
    this.#writes = new ImportTarget(target, this.#markerKey, flags['max-txn-ops'], signal);
    this.#progress = progressLine(call.io);
    this.#marker = { source: id, prefix: flags.prefix, revision: 0 };
    this.leases = new ImportedLeases(source, target);
  }

  async run(): Promise<void> {
    const { io, flags, signal } = this.#call;
    try {
      await this.#begin();
      if (flags.auth) await this.#copyAuth();
      if (this.#marker.copying !== undefined || this.#marker.revision < this.#state.compacted) {
        await this.#copyState();
      }
      if (flags.prefix === '') await this.leases.ensureAll(signal);
      await this.#replay(this.#state.revision);
      if (signal.aborted) return;
      const { keys, hash } = await this.#verify();
      this.#progress.done();
      io.out(
        `imported ${keys} keys and ${this.leases.size} leases up to revision ${this.#marker.revision}, `,
      );
      io.out(`verified: sha256 ${hash}\n`);
      if (flags.follow) await this.#replay(undefined);
      else await this.#target.api.deleteRange({ key: this.#markerKey.key }, this.#target.options(signal));
    } finally {
      this.#progress.done();
    }
  }

  async #copyAuth(): Promise<void> {
    const { io, signal } = this.#call;
    const { roles, users } = await copyAuth(this.#source, this.#target, signal);
    io.err(`copied ${roles} roles, and ${users.length} users\n`);
    if (users.length === 0) return;
    io.err(
      `passwords cannot be copied, and those of the users ${users.join(', ')} are random now: set them with ` +
        '"user passwd" before "auth enable" at the destination\n',
    );
  }

  /** Goes on from the marker, or starts in a destination that has nothing of ours to lose. */
  async #begin(): Promise<void> {
    const { signal, io } = this.#call;
    const found = await this.#markerKey.read(signal);
    if (found) {
      const { source, prefix } = this.#marker;
      if (found.source !== source || found.prefix !== prefix) {
        throw new Failure(
          `the marker at the destination is of cluster ${found.source}, prefix ${JSON.stringify(found.prefix)}; ` +
            `expected ${source}, ${JSON.stringify(prefix)}`,
        );
      }
      this.#marker = found;
      io.err(`going on from revision ${found.revision}\n`);
      return;
    }
    const { count } = await this.#target.api.range(
      { ...this.#range, countOnly: true },
      this.#target.options(signal),
    );
    if (count > 0) {
      throw new Failure(
        `the destination has ${count} keys with prefix ${JSON.stringify(this.#marker.prefix)}: expected none`,
      );
    }
  }

  /**
   * What the source's history no longer tells: the state at its oldest revision, in the order of changes; after an
   * interruption only what changed since, and what is gone.
   */
  async #copyState(): Promise<void> {
    const { signal, flags } = this.#call;
    const at = this.#state.compacted;
    const after = this.#marker.revision;
    const { source, prefix } = this.#marker;
    await this.#deleteVanished(at, { source, prefix, revision: after, copying: at });
    for await (const kvs of pagesByChange(this.#source, this.#range, at, after, signal)) {
      const revisions = byRevision(kvs.map(asPut));
      for (const { revision, events } of stateBatches(revisions, flags['max-txn-ops'] - 1)) {
        await this.#applyEvents(events, { source, prefix, revision, copying: at });
        this.#progress.update(`${bar(revision, at)} of the state at revision ${at}`);
      }
    }
    this.#marker = { source, prefix, revision: at };
    await this.#writes.apply([], this.#marker);
  }

  /** Deletes keys that the destination has and the source, at this revision, has not. */
  async #deleteVanished(at: number, marker: Marker): Promise<void> {
    const { signal } = this.#call;
    const { header, count } = await this.#target.api.range(
      { ...this.#range, countOnly: true },
      this.#target.options(signal),
    );
    if (count === 0) return;
    const theirs = keysOf(pagesByKey(this.#source, this.#range, at, signal));
    let next = await theirs.next();
    let gone: RequestOp[] = [];
    for await (const key of keysOf(pagesByKey(this.#target, this.#range, header.revision ?? 0, signal))) {
      while (!next.done && Buffer.compare(next.value, key) < 0) next = await theirs.next();
      const isThere = !next.done && Buffer.compare(next.value, key) === 0;
      if (isThere || Buffer.compare(key, this.#markerKey.key) === 0) continue;
      gone.push({ type: 'deleteRange', deleteRange: { key } });
      if (gone.length < this.#call.flags['max-txn-ops'] - 1) continue;
      await this.#writes.apply(gone, marker);
      gone = [];
    }
    await this.#writes.apply(gone, marker);
  }

  /** The history from the marker on, a transaction for each revision; up to one, or until stopped. */
  async #replay(until: number | undefined): Promise<void> {
    const { signal } = this.#call;
    if (until !== undefined && this.#marker.revision >= until) return;
    const { source, prefix } = this.#marker;
    const request = {
      ...this.#range,
      startRevision: this.#marker.revision + 1,
      progressNotify: true,
    };
    const reached = () => until !== undefined && this.#marker.revision >= until;
    const started = { revision: this.#marker.revision };
    for await (const message of watchMessages(this.#source.api, request, signal, {}, (handle) =>
      until === undefined ? undefined : handle.requestProgress(),
    )) {
      if (message.type === 'canceled') {
        throw new Failure(
          `watch was canceled (${canceledWatchText(message)}): run the import again to go on`,
        );
      }
      if (message.type === 'progress') await this.#passed(message.header.revision ?? 0);
      if (message.type === 'events') {
        for (const { revision, events } of byRevision(message.batch.events)) {
          const marker = { source, prefix, revision };
          await this.#applyEvents(events, marker);
          this.#marker = marker;
          if (until !== undefined) {
            const done = revision - started.revision;
            this.#progress.update(`${bar(done, until - started.revision)} revision ${revision} of ${until}`);
          }
        }
      }
      if (reached()) return;
    }
  }

  /** Nothing more of ours up to this revision: the marker may say so. */
  async #passed(revision: number): Promise<void> {
    if (revision <= this.#marker.revision) return;
    const marker = { source: this.#marker.source, prefix: this.#marker.prefix, revision };
    await this.#writes.apply([], marker);
    this.#marker = marker;
  }

  /** Once more with new leases when one that we know has ended at the destination. */
  async #applyEvents(events: readonly Event[], marker: Marker): Promise<void> {
    try {
      await this.#writes.apply(await this.#operations(events), marker);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'LEASE_NOT_FOUND') throw error;
      for (const { kv } of events) this.leases.forget(kv.lease);
      await this.#writes.apply(await this.#operations(events), marker);
    }
  }

  async #operations(events: readonly Event[]): Promise<RequestOp[]> {
    const operations: RequestOp[] = [];
    for (const event of events) {
      const lease = event.type === 'put' ? await this.leases.ensure(event.kv.lease, this.#call.signal) : 0n;
      operations.push(operationOf(event, event.kv.key, lease));
    }
    return operations;
  }

  async #verify() {
    const { signal } = this.#call;
    const { header } = await this.#target.api.range(
      { key: this.#markerKey.key },
      this.#target.options(signal),
    );
    return verifySame(
      { client: this.#source, revision: this.#marker.revision },
      { client: this.#target, revision: header.revision ?? 0 },
      this.#range,
      this.#markerKey.key,
      signal,
    );
  }
}

function asPut(kv: KeyValue): Event {
  return { type: 'put', kv };
}

async function* keysOf(pages: AsyncIterable<readonly KeyValue[]>): AsyncGenerator<Uint8Array> {
  for await (const kvs of pages) for (const kv of kvs) yield kv.key;
}
