import { assert } from '@muster/base';
import type { Bounds, Entry } from '@muster/kv';
import { Layer, type TableLayer } from './overlay.ts';
import {
  decodeNumber,
  type Environment,
  encodeNumber,
  fileBytes,
  type StoreDatabase,
  TAG_KEY,
  tableNumber,
} from './schema.ts';

/** A layer is closed to further units at this size, and made durable as one transaction. */
const LAYER_CHANGES_MAX = 2048;
export const LAYER_BYTES_MAX: number = 1024 * 1024;
/** A layer that is not full waits this long for more: fewer, larger transactions write fewer pages. */
const FLUSH_DELAY_MS = 50;
/** How often a full disk is tried again. */
const RETRY_DELAY_MS = 1000;

const SYSTEM = tableNumber('system');
const latin1Slice = Buffer.prototype.latin1Slice;
const LOWEST = new Uint8Array([0]);

/** A second try that has not ended by then never will: lmdb does not report that the file has become unusable. */
const RETRY_STALL_MS = 60_000;

/**
 * LMDB's MDB_MAP_FULL, and the system's ENOSPC, EDQUOT, EFBIG and EIO. LMDB itself says EIO when a write is cut short by
 * a full disk. Trying again is safe after each of them, even after a failed sync: a transaction that failed before its
 * meta page counts for nothing, and the next try writes every page of it anew.
 */
const RETRYABLE_CODES: readonly unknown[] = [-30792, 28, 122, 27, 5];

/** The store could not make writes durable. With `retryable` it goes on trying; else nothing will be durable any more. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly retryable: boolean;

  constructor(message: string, options: { readonly retryable: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
  }
}

export function keyText(key: Uint8Array): string {
  return latin1Slice.call(key, 0, key.length);
}

type Waiter = { readonly unit: number; readonly done: (error?: Error) => void };

export type StoreOptions = {
  readonly flushDelayMs?: number;
  readonly retryDelayMs?: number;
  /** Told of every failed commit, the first and each that is tried again. */
  readonly onError?: (error: StoreError) => void;
  /** Told how long each background commit took, in seconds. */
  readonly onCommit?: (seconds: number) => void;
};

/**
 * Tables in LMDB under layers of changes that it does not have yet. Reads see the layers first. Layers become LMDB
 * transactions one at a time, in the background, each with whole units and the tag of its last.
 */
export class Store {
  #environment: Environment;
  readonly #options: StoreOptions;
  /** Takes writes; never empty of meaning, perhaps of changes. */
  #current = new Layer();
  /** Full layers, oldest first; the first may be on its way. */
  #sealed: Layer[] = [];
  #flushedTag: number;
  #sealedTag: number;
  #sealedBytes = 0;
  /** Units are counted, because a tag may come twice. */
  #sealedUnits = 0;
  #flushedUnits = 0;
  #size: { readonly total: number; readonly inUse: number } | undefined;
  #flushing = false;
  #timer: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;
  #waiters: Waiter[] = [];
  #failure: StoreError | undefined;
  #onQuiet: (() => void) | undefined;
  #held = false;
  #closing: Promise<void> | undefined;
  #onReleased: (() => void) | undefined;

  constructor(environment: Environment, options: StoreOptions = {}) {
    this.#environment = environment;
    this.#options = options;
    this.#flushedTag = storedTag(environment);
    this.#sealedTag = this.#flushedTag;
  }

  get flushedTag(): number {
    return this.#flushedTag;
  }

  get sealedTag(): number {
    return this.#sealedTag;
  }

  get pendingBytes(): number {
    return this.#sealedBytes;
  }

  get environment(): Environment {
    return this.#environment;
  }

  get(table: number, key: Uint8Array): Uint8Array | undefined {
    const change = this.#changeOf(table, key);
    if (change !== undefined) return change ?? undefined;
    return this.#database(table).get(key);
  }

  put(table: number, key: Uint8Array, value: Uint8Array): void {
    this.#current.set(table, keyText(key), value);
  }

  delete(table: number, key: Uint8Array): void {
    this.#current.set(table, keyText(key), null);
  }

  commit(tag: number): void {
    assert(tag >= this.#sealedTag, () => `commit of tag ${tag} after ${this.#sealedTag}`);
    const layer = this.#current;
    this.#sealedTag = tag;
    layer.seal(tag, ++this.#sealedUnits);
    this.#sealedBytes = this.#sealed.reduce((sum, l) => sum + l.bytes, layer.bytes);
    if (layer.changes >= LAYER_CHANGES_MAX || layer.bytes >= LAYER_BYTES_MAX) this.#rotate();
    else this.#schedule();
  }

  flush(done: (error?: Error) => void): void {
    const failure = this.#failure;
    if (failure && !failure.retryable) return queueMicrotask(() => done(failure));
    if (this.#flushedUnits === this.#sealedUnits) return queueMicrotask(() => done());
    this.#waiters.push({ unit: this.#sealedUnits, done });
    this.#rotate();
  }

  /** In key order; see `EngineReader.iterate`. */
  iterate(table: number, bounds: Bounds = {}): Iterable<Entry> {
    const stored = this.#stored(table, bounds);
    const from = bounds.from ? keyText(bounds.from) : '';
    const to = bounds.to ? keyText(bounds.to) : undefined;
    let merged = stored;
    for (const layer of [...this.#sealed, this.#current]) {
      const changes = layer.table(table);
      if (!changes) continue;
      merged = mergeChanges(
        merged,
        changes,
        changes.keys(from, to, bounds.reverse ?? false),
        bounds.reverse ?? false,
      );
    }
    return merged;
  }

  /** As of the newest commit to LMDB. */
  size(): { readonly total: number; readonly inUse: number } {
    this.#size ??= this.#measure();
    return this.#size;
  }

  #measure(): { readonly total: number; readonly inUse: number } {
    const { root, tables, path } = this.#environment;
    let pages = 2;
    let pageSize = 0;
    for (const table of [...tables, root]) {
      const stats = table.getStats() as TableStats;
      pageSize = stats.pageSize;
      pages += stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
    }
    const total = fileBytes(path);
    return { total, inUse: Math.min(total, pages * pageSize) };
  }

  /** Forbids commits to LMDB until `resume`, and calls `done` once none is under way; with an error when it is closed. */
  hold(done: (error?: Error) => void): void {
    if (this.#closing) queueMicrotask(() => done(closedError()));
    else this.#hold(done);
  }

  #hold(done: () => void): void {
    assert(!this.#held, 'the store is held twice');
    this.#held = true;
    if (this.#flushing) this.#onQuiet = done;
    else queueMicrotask(done);
  }

  /**
   * Ends a `hold`; with another environment, whose state replaces everything, what was not flushed included. The old
   * one is given back, to be closed.
   */
  resume(replacement?: Environment): Environment | undefined {
    assert(this.#held && !this.#flushing, 'the store is not held');
    this.#held = false;
    if (!replacement) {
      this.#goOn();
      return undefined;
    }
    assert(!this.#current.hasOpen, 'the state is replaced within a unit');
    const old = this.#environment;
    this.#environment = replacement;
    this.#current = new Layer();
    this.#sealed = [];
    this.#sealedBytes = 0;
    this.#flushedTag = storedTag(replacement);
    this.#sealedTag = this.#flushedTag;
    this.#flushedUnits = this.#sealedUnits;
    this.#size = undefined;
    this.#settleWaiters(undefined);
    this.#onReleased?.();
    return old;
  }

  /**
   * Ends a `hold` like `resume`, with another file of the same flushed state: what is not flushed yet stays. The old
   * environment is given back, to be closed.
   */
  exchange(replacement: Environment): Environment {
    assert(this.#held && !this.#flushing, 'the store is not held');
    assert(storedTag(replacement) === this.#flushedTag, 'the replacement stands elsewhere');
    this.#held = false;
    const old = this.#environment;
    this.#environment = replacement;
    this.#size = undefined;
    this.#goOn();
    return old;
  }

  /** Ends a `hold` behind which there is no file to write to any more: nothing will be durable until the next start. */
  abandon(cause: unknown): void {
    assert(this.#held && !this.#flushing, 'the store is not held');
    this.#held = false;
    this.#failed(cause);
    this.#onReleased?.();
  }

  /** Behind a hold. */
  #goOn(): void {
    this.#onReleased?.();
    if (this.#sealed.length > 0) this.#flushNext();
    else if (this.#waiters.length > 0) this.#rotate();
    else this.#schedule();
  }

  /** Waits for a hold to end, flushes what is sealed, then closes. An open unit is dropped, as a crash would. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#held) {
      await new Promise<void>((resolve) => {
        this.#onReleased = resolve;
      });
    }
    // What cannot be flushed now is in the log.
    await new Promise<Error | undefined>((resolve) => this.flush(resolve));
    clearTimeout(this.#timer);
    await new Promise<void>((resolve) => this.#hold(resolve));
    await this.#environment.root.close();
  }

  #changeOf(table: number, key: Uint8Array): Uint8Array | null | undefined {
    if (this.#current.changes === 0 && this.#sealed.length === 0) return undefined;
    const text = keyText(key);
    const change = this.#current.table(table)?.changes.get(text);
    if (change !== undefined) return change;
    for (let i = this.#sealed.length - 1; i >= 0; i--) {
      const older = (this.#sealed[i] as Layer).table(table)?.changes.get(text);
      if (older !== undefined) return older;
    }
    return undefined;
  }

  #database(table: number): StoreDatabase {
    return this.#environment.tables[table] as StoreDatabase;
  }

  #stored(table: number, bounds: Bounds): Iterable<Entry> {
    return entriesOf(this.#database(table).getRange(storedRange(bounds) as never));
  }

  #schedule(): void {
    if (this.#timer || this.#flushing || this.#current.tag === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#rotate();
    }, this.#options.flushDelayMs ?? FLUSH_DELAY_MS);
  }

  #rotate(): void {
    const layer = this.#current;
    if (layer.tag !== undefined) {
      this.#current = layer.splitOpen();
      this.#sealed.push(layer);
    }
    this.#flushNext();
  }

  #flushNext(): void {
    const layer = this.#sealed[0];
    if (!layer || this.#flushing || this.#held || (this.#failure && !this.#failure.retryable)) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = true;
    if (this.#failure) this.#watchRetry();
    const started = performance.now();
    writeLayer(this.#environment, layer).then(
      () => {
        this.#options.onCommit?.((performance.now() - started) / 1000);
        this.#flushed(layer);
      },
      (error: unknown) => this.#failed(error),
    );
  }

  #flushed(layer: Layer): void {
    // From now on reads must come from a view of LMDB that has the layer.
    this.#environment.root.resetReadTxn();
    this.#sealed.shift();
    this.#sealedBytes -= layer.bytes;
    this.#flushedTag = layer.tag as number;
    this.#flushedUnits = layer.lastUnit;
    this.#size = undefined;
    this.#flushing = false;
    clearTimeout(this.#stall);
    this.#failure = undefined;
    this.#settleWaiters(undefined);
    if (this.#quiet()) return;
    if (this.#sealed.length > 0) this.#flushNext();
    else if (this.#waiters.length > 0) this.#rotate();
    else this.#schedule();
  }

  #watchRetry(): void {
    this.#stall = setTimeout(() => this.#failed(new Error('a second try does not end')), RETRY_STALL_MS);
    this.#stall.unref();
  }

  #failed(cause: unknown): void {
    clearTimeout(this.#stall);
    const retryable = RETRYABLE_CODES.includes((cause as { code?: unknown }).code);
    const reason = cause instanceof Error ? cause.message : String(cause);
    const { path } = this.#environment;
    const error = new StoreError(
      retryable
        ? `cannot write ${path} at the moment (${reason}; is the disk full?): writes stay in the log and are tried again`
        : `writing ${path} failed: ${reason}. Nothing is lost, the log has it; stop this member and check the disk`,
      { retryable, cause },
    );
    this.#flushing = false;
    this.#failure = error;
    this.#settleWaiters(error);
    this.#options.onError?.(error);
    if (this.#quiet() || !retryable) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flushNext();
    }, this.#options.retryDelayMs ?? RETRY_DELAY_MS);
    this.#timer.unref();
  }

  #quiet(): boolean {
    if (!this.#held) return false;
    const done = this.#onQuiet;
    this.#onQuiet = undefined;
    done?.();
    return true;
  }

  #settleWaiters(error: Error | undefined): void {
    const ready = this.#waiters.filter((w) => error || w.unit <= this.#flushedUnits);
    this.#waiters = this.#waiters.filter((w) => !ready.includes(w));
    for (const waiter of ready) waiter.done(error);
  }
}

/** Bounds as lmdb takes them. */
export function storedRange({ from, to, reverse }: Bounds): object {
  return reverse
    ? { reverse, end: from ?? LOWEST, inclusiveEnd: true, ...(to && { start: to, exclusiveStart: true }) }
    : { start: from ?? LOWEST, ...(to && { end: to }) };
}

export function closedError(): Error {
  return new Error('the storage was closed while it was used');
}

type TableStats = {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
};

function storedTag(environment: Environment): number {
  const tag = environment.tables[SYSTEM]?.get(TAG_KEY);
  return tag ? decodeNumber(tag) : 0;
}

/** One LMDB transaction; resolves when it is on disk. */
async function writeLayer(environment: Environment, layer: Layer): Promise<void> {
  const { root, tables } = environment;
  try {
    await root.batch(() => {
      for (const [number, database] of tables.entries()) {
        const table = layer.table(number);
        if (!table) continue;
        for (const [key, change] of table.changes) {
          if (change === null) database.remove(key);
          else database.put(key, change);
        }
      }
      (tables[SYSTEM] as StoreDatabase).put(TAG_KEY, encodeNumber(layer.tag as number));
    });
  } catch (error) {
    // lmdb tells the reason by a second promise, which it rejects.
    await (error as { readonly commitError?: Promise<never> }).commitError;
    throw error;
  }
}

function* entriesOf(range: Iterable<{ key: unknown; value: Uint8Array }>): Generator<Entry> {
  for (const { key, value } of range) yield [key as Uint8Array, value];
}

/** `below` with a layer's changes over it. */
function* mergeChanges(
  below: Iterable<Entry>,
  table: TableLayer,
  keys: Generator<string, undefined>,
  reverse: boolean,
): Generator<Entry> {
  let next = keys.next().value;
  for (const entry of below) {
    if (next === undefined) {
      yield entry;
      continue;
    }
    const key = keyText(entry[0]);
    while (next !== undefined && (reverse ? next > key : next < key)) {
      const change = table.changes.get(next);
      if (change) yield [bytesOf(next), change];
      next = keys.next().value;
    }
    if (next !== key) {
      yield entry;
      continue;
    }
    const change = table.changes.get(key);
    next = keys.next().value;
    if (change) yield [entry[0], change];
  }
  for (; next !== undefined; next = keys.next().value) {
    const change = table.changes.get(next);
    if (change) yield [bytesOf(next), change];
  }
}

function bytesOf(key: string): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return bytes;
}
