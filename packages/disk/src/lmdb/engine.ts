import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { assert } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Bounds, Engine, EngineView, Entry, Table } from '@muster/kv';
import { deleteLong, getLong, isLong, iterateWithLong, putLong } from './long-keys.ts';
import { type Environment, openEnvironment, tableNumber } from './schema.ts';
import { closedError, Store, type StoreOptions } from './store.ts';
import { LmdbView, type ReadTransaction } from './view.ts';

export const DATA_FILE = 'data.mdb';
/** What an installation builds before it becomes the data file. */
export const INSTALL_FILE = 'install.mdb';
export const LOCK_SUFFIX = '-lock';
/**
 * Views open at a time: each takes one of the 126 places that LMDB has for readers, without one of which nothing at all
 * can be read, and keeps pages from being used again.
 */
const VIEWS_MAX = 16;
/** Callers that wait for one. */
const VIEW_WAITERS_MAX = 1000;

type ViewDone = (error: Error | undefined, view: EngineView | undefined) => void;

export type OpenEngineOptions = StoreOptions & {
  /** How large the data file may grow, in bytes; it reserves address space only. */
  readonly mapBytes?: number;
};

/** Engine on LMDB: see `Engine` in @muster/kv. Writes become durable in the background. */
export class LmdbEngine implements Engine {
  readonly directory: string;
  readonly #options: OpenEngineOptions;
  readonly #store: Store;
  readonly #views = new Set<LmdbView>();
  /** Views that are open or about to be. */
  #viewCount = 0;
  #viewWaiters: ViewDone[] = [];
  #closed = false;
  /** Environments that were replaced, and what closes each once nothing reads it any more. */
  readonly #retired = new Map<Environment, () => void>();

  constructor(directory: string, options: OpenEngineOptions = {}) {
    this.directory = directory;
    this.#options = options;
    for (const leftover of [INSTALL_FILE, INSTALL_FILE + LOCK_SUFFIX])
      rmSync(`${directory}/${leftover}`, { force: true });
    const path = `${directory}/${DATA_FILE}`;
    const isNew = !existsSync(path);
    this.#store = new Store(openEnvironment(path, options.mapBytes), options);
    if (isNew) syncDirectory(directory);
  }

  get flushedTag(): number {
    return this.#store.flushedTag;
  }

  get pendingBytes(): number {
    return this.#store.pendingBytes;
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    const number = tableNumber(table);
    return isLong(key) ? getLong(this.#store, number, key) : this.#store.get(number, key);
  }

  put(table: Table, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, 'an empty key');
    const number = tableNumber(table);
    if (isLong(key)) putLong(this.#store, number, key, value);
    else this.#store.put(number, key, value);
  }

  delete(table: Table, key: Uint8Array): void {
    assert(key.length > 0, 'an empty key');
    const number = tableNumber(table);
    if (isLong(key)) deleteLong(this.#store, number, key);
    else this.#store.delete(number, key);
  }

  iterate(table: Table, bounds: Bounds = {}): Iterable<Entry> {
    return iterateWithLong(this.#store, tableNumber(table), bounds);
  }

  commit(tag: number): void {
    this.#store.commit(tag);
  }

  flush(done: (error?: Error) => void): void {
    this.#store.flush(done);
  }

  view(done: ViewDone): void {
    if (this.#closed) return queueMicrotask(() => done(closedError(), undefined));
    if (this.#viewCount >= VIEWS_MAX) {
      if (this.#viewWaiters.length < VIEW_WAITERS_MAX) this.#viewWaiters.push(done);
      else queueMicrotask(() => done(new KvError('TOO_MANY_REQUESTS'), undefined));
      return;
    }
    this.#viewCount++;
    this.flush((error) => {
      let opened: EngineView | undefined;
      let failure = error ?? (this.#closed ? closedError() : undefined);
      try {
        if (!failure) opened = this.#openView();
      } catch (cause) {
        failure = cause as Error;
      }
      if (!opened) this.#viewGone();
      done(failure, opened);
    });
  }

  #openView(): EngineView {
    const { environment } = this.#store;
    const { root } = environment;
    root.resetReadTxn();
    const view = new LmdbView({
      environment,
      transaction: root.useReadTransaction() as unknown as ReadTransaction,
      tag: this.#store.flushedTag,
      onClose: () => {
        this.#views.delete(view);
        this.#closeRetired(environment);
        this.#viewGone();
      },
    });
    this.#views.add(view);
    return view;
  }

  #viewGone(): void {
    this.#viewCount--;
    const next = this.#viewWaiters.shift();
    if (next) this.view(next);
  }

  /** Views of the state that are open. */
  get openViews(): number {
    return this.#views.size;
  }

  /** `total` is the file's size, `inUse` what its tables fill; both as of the newest background commit. */
  size(): { readonly total: number; readonly inUse: number } {
    return this.#store.size();
  }

  /** Flushes sealed units and closes. Nothing may use the engine afterwards. */
  close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#viewWaiters.splice(0)) waiter(closedError(), undefined);
    for (const view of [...this.#views]) view.close();
    return this.#store.close();
  }

  /** Closes an environment that was replaced, once no view reads it any more. */
  retire(environment: Environment): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#retired.set(environment, () => environment.root.close().then(resolve, reject));
      this.#closeRetired(environment);
    });
  }

  #closeRetired(environment: Environment): void {
    if ([...this.#views].some((view) => view.environment === environment)) return;
    const close = this.#retired.get(environment);
    this.#retired.delete(environment);
    close?.();
  }

  /** For the snapshot store: stops commits to the file until `resume`. */
  hold(done: (error?: Error) => void): void {
    this.#store.hold(done);
  }

  /** For the snapshot store: ends `hold`. When the data file was replaced the new one is opened, the old given back. */
  resume(replaced: boolean): Environment | undefined {
    if (!replaced) return this.#store.resume();
    return this.#store.resume(openEnvironment(this.#store.environment.path, this.#options.mapBytes));
  }

  /** For the snapshot store: ends `hold` after the data file was replaced by a copy of itself. */
  exchange(): Environment {
    let copy: Environment;
    try {
      copy = openEnvironment(this.#store.environment.path, this.#options.mapBytes);
    } catch (cause) {
      this.#store.abandon(cause);
      throw cause;
    }
    return this.#store.exchange(copy);
  }

  get mapBytes(): number | undefined {
    return this.#options.mapBytes;
  }

  /** For the snapshot store: what is flushed. */
  get environment(): Environment {
    return this.#store.environment;
  }
}

/** LMDB makes what is in its file durable, not that the file is there. */
function syncDirectory(path: string): void {
  // A directory cannot be opened on Windows.
  if (process.platform === 'win32') return;
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Opens the engine in `directory`, creating it when there is none. Reads nothing but what says where it stands. */
export function openEngine(directory: string, options: OpenEngineOptions = {}): LmdbEngine {
  return new LmdbEngine(directory, options);
}
