import { assert, utf8 } from '@muster/base';
import type { SnapshotStore } from '@muster/member';
import { called, type Fs, type FsFile } from './fs.ts';
import { DATA_FILE, INSTALL_FILE, type LmdbEngine, LOCK_SUFFIX } from './lmdb/engine.ts';
import {
  decodeNumber,
  type Environment,
  encodeNumber,
  openEnvironment,
  STORE_TABLES,
  type StoreDatabase,
  TAG_KEY,
  tableNumber,
} from './lmdb/schema.ts';
import { nodeFs } from './node-fs.ts';
import {
  BlockWriter,
  encodeSnapshotHeader,
  SnapshotDamaged,
  SnapshotParser,
  type SnapshotRecord,
} from './snapshot-format.ts';

/** More images are never kept. */
const SNAPSHOTS_KEPT_MAX = 5;
const READ_CHUNK_BYTES = 1024 * 1024;
/** Longest time that making or installing an image keeps the event loop. */
const SLICE_MS = 2;
/** The clock is looked at after so many records. */
const LOOK_EVERY = 64;
const SUFFIX = '.snap';
const TEMPORARY = '.part';
const NAME = /^[0-9A-Za-z_][0-9A-Za-z_.-]{0,199}$/;
const SYSTEM = tableNumber('system');
const RAFT_META_KEY = utf8('raft');
const LOWEST = new Uint8Array([0]);

export interface SnapshotReader {
  readonly size: number;
  /** The next bytes, at most `maxBytes`; empty at the end. */
  read(maxBytes: number): Promise<Uint8Array>;
  /** From now on the image may be pruned. */
  close(): Promise<void>;
}

export interface SnapshotWriter {
  /** Checks on the way: rejects as soon as the image is seen to be damaged. One call at a time. */
  write(chunk: Uint8Array): Promise<void>;
  /** The image is there under its name, durable; or rejects and leaves nothing behind. */
  finish(): Promise<void>;
  abort(): Promise<void>;
}

/** Images in a directory, made from and installed into an LmdbEngine. One making or installing runs at a time. */
export class DiskSnapshotStore implements SnapshotStore {
  readonly #directory: string;
  readonly #engine: LmdbEngine;
  readonly #fs: Fs;
  readonly #onSync: (seconds: number) => void;
  #tail: Promise<unknown> = Promise.resolve();
  #temporaries = 0;
  readonly #reading = new Map<string, number>();

  constructor(directory: string, engine: LmdbEngine, fs: Fs, onSync: (seconds: number) => void) {
    this.#directory = directory;
    this.#engine = engine;
    this.#fs = fs;
    this.#onSync = onSync;
  }

  create(done: Parameters<SnapshotStore['create']>[0]): void {
    this.#inTurn(() => this.#create()).then(
      (image) => done(undefined, image),
      (error: unknown) => done(asError(error), undefined as never),
    );
  }

  install(name: string, done: (error?: Error) => void): void {
    this.#inTurn(() => this.#install(name)).then(
      (old) => {
        // What was read from the old state must not be mixed with the new one: `done` comes in the same turn.
        // It closes when nothing reads it any more.
        if (old) void this.#engine.retire(old);
        done();
      },
      (error: unknown) => done(asError(error)),
    );
  }

  /**
   * Replaces the data file by a copy without its free pages. Meanwhile reads and writes go on, and what is written
   * waits in memory: when that becomes much the member stops applying for as long. A crash finds the one file or the
   * other, with the same content.
   */
  defragment(): Promise<void> {
    return this.#inTurn(() => this.#defragment());
  }

  prune(keep: number): void {
    void this.#inTurn(() => this.#prune(Math.min(keep, SNAPSHOTS_KEPT_MAX))).catch(() => {
      // What cannot be removed now is removed next time.
    });
  }

  path(name: string): string {
    assert(NAME.test(name), () => `unsafe image name ${JSON.stringify(name)}`);
    return `${this.#directory}/${name}`;
  }

  /** Opens an image to send it; it is not pruned until it is closed. */
  async openRead(name: string): Promise<SnapshotReader> {
    const file = await called<FsFile>((done) => this.#fs.open(this.path(name), 'read', done));
    const size = await called<number>((done) => file.size(done));
    this.#reading.set(name, (this.#reading.get(name) ?? 0) + 1);
    let position = 0;
    return {
      size,
      read: async (maxBytes) => {
        const chunk = new Uint8Array(Math.min(maxBytes, size - position));
        if (chunk.length === 0) return chunk;
        const read = await called<number>((done) => file.read(chunk, position, done));
        position += read;
        return chunk.subarray(0, read);
      },
      close: async () => {
        const readers = (this.#reading.get(name) as number) - 1;
        if (readers > 0) this.#reading.set(name, readers);
        else this.#reading.delete(name);
        await called((done) => file.close(done));
      },
    };
  }

  /** A place for an image of `size` bytes that comes in; it shows under `name` once it is whole and durable. */
  async receive(name: string, size: number): Promise<SnapshotWriter> {
    const target = this.path(name);
    const parser = new SnapshotParser(name);
    const draft = await this.#draft(target);
    return {
      write: async (chunk) => {
        parser.push(chunk);
        await draft.write(chunk);
      },
      finish: async () => {
        try {
          parser.finish();
          if (draft.bytes !== size)
            throw new SnapshotDamaged(`image ${name}: ${draft.bytes} of ${size} bytes`);
        } catch (error) {
          await draft.discard();
          throw error;
        }
        await draft.publish();
      },
      abort: () => draft.discard(),
    };
  }

  async #create(): Promise<{ name: string; raftMeta: Uint8Array }> {
    await called((done) => this.#engine.flush(done));
    const { root, tables } = this.#engine.environment;
    root.resetReadTxn();
    const transaction = root.useReadTransaction();
    try {
      const at = { transaction } as never;
      const tag = (tables[SYSTEM] as StoreDatabase).get(TAG_KEY, at);
      const number = tag ? decodeNumber(tag) : 0;
      const name = `${String(number).padStart(16, '0')}${SUFFIX}`;
      const raftMeta = (tables[tableNumber('meta')] as StoreDatabase).get(RAFT_META_KEY, at);
      const draft = await this.#draft(this.path(name));
      try {
        await writeImage(draft, number, tables, transaction);
      } catch (error) {
        await draft.discard();
        throw error;
      }
      await draft.publish();
      return { name, raftMeta: raftMeta ?? new Uint8Array(0) };
    } finally {
      transaction.done();
    }
  }

  /** Returns the environment that was replaced, to be closed. */
  async #install(name: string): Promise<Environment | undefined> {
    const { directory } = this.#engine;
    const built = `${directory}/${INSTALL_FILE}`;
    await this.#removeFiles(built, built + LOCK_SUFFIX);
    try {
      await this.#build(name, built);
    } catch (error) {
      await this.#removeFiles(built, built + LOCK_SUFFIX);
      throw error;
    }
    await called((done) => this.#engine.hold(done));
    const { replaced, error } = await this.#replaceData(built);
    const old = this.#engine.resume(replaced);
    if (!error) return old;
    if (old) void this.#engine.retire(old);
    throw error;
  }

  async #defragment(): Promise<void> {
    const { directory } = this.#engine;
    const built = `${directory}/${INSTALL_FILE}`;
    await this.#removeFiles(built, built + LOCK_SUFFIX);
    await called((done) => this.#engine.hold(done));
    try {
      await this.#engine.environment.root.backup(built, true);
      const file = await called<FsFile>((done) => this.#fs.open(built, 'read', done));
      try {
        await called((done) => file.sync(done));
      } finally {
        await called((done) => file.close(done));
      }
    } catch (error) {
      this.#engine.resume(false);
      await this.#removeFiles(built, built + LOCK_SUFFIX);
      throw error;
    }
    const { replaced, error } = await this.#replaceData(built);
    if (replaced) void this.#engine.retire(this.#engine.exchange());
    else this.#engine.resume(false);
    if (error) throw error;
  }

  /** The built file becomes the data file. An error may come after that has happened. */
  async #replaceData(built: string): Promise<{ readonly replaced: boolean; readonly error?: unknown }> {
    const { directory } = this.#engine;
    let replaced = false;
    try {
      const data = `${directory}/${DATA_FILE}`;
      await called((done) => this.#fs.rename(built, data, done));
      replaced = true;
      // The table of readers belongs to the file that was; the open environment keeps its own.
      await this.#removeFiles(data + LOCK_SUFFIX, built + LOCK_SUFFIX);
      await called((done) => this.#fs.syncDirectory(directory, done));
      return { replaced };
    } catch (error) {
      return { replaced, error };
    }
  }

  /** Reads the image, checks it and writes it to a new data file. */
  async #build(name: string, path: string): Promise<void> {
    const reader = await this.openRead(name);
    const environment = openEnvironment(path, this.#engine.mapBytes);
    try {
      const parser = new SnapshotParser(name);
      for (;;) {
        const chunk = await reader.read(READ_CHUNK_BYTES);
        if (chunk.length === 0) break;
        const records: SnapshotRecord[] = [];
        parser.push(chunk, records);
        await putRecords(environment, name, records);
      }
      parser.finish();
      await environment.tables[SYSTEM]?.put(TAG_KEY, encodeNumber(parser.tag));
    } finally {
      await environment.root.close();
      await reader.close();
    }
  }

  async #prune(keep: number): Promise<void> {
    const names = await called<readonly string[]>((done) => this.#fs.list(this.#directory, done));
    const images = names.filter((name) => name.endsWith(SUFFIX)).sort();
    for (const name of images.slice(0, Math.max(0, images.length - keep))) {
      if (!this.#reading.has(name)) await this.#removeFiles(this.path(name));
    }
  }

  async #removeFiles(...paths: string[]): Promise<void> {
    for (const path of paths) await called((done) => this.#fs.remove(path, done));
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(run);
    this.#tail = result.catch(() => {});
    return result;
  }

  async #draft(target: string): Promise<Draft> {
    const path = `${target}.${++this.#temporaries}${TEMPORARY}`;
    const file = await called<FsFile>((done) => this.#fs.open(path, 'create', done));
    return new Draft(this.#fs, this.#directory, file, path, target, this.#onSync);
  }
}

/** A file that gets its name when it is whole. */
class Draft {
  readonly #fs: Fs;
  readonly #directory: string;
  readonly #file: FsFile;
  readonly #path: string;
  readonly #target: string;
  readonly #onSync: (seconds: number) => void;
  /** Closed once only: the number of a closed file may be another's by now. */
  #over = false;
  bytes = 0;

  constructor(
    fs: Fs,
    directory: string,
    file: FsFile,
    path: string,
    target: string,
    onSync: (seconds: number) => void,
  ) {
    this.#fs = fs;
    this.#directory = directory;
    this.#file = file;
    this.#path = path;
    this.#target = target;
    this.#onSync = onSync;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await called((done) => this.#file.write(chunk, this.bytes, done));
    this.bytes += chunk.length;
  }

  async publish(): Promise<void> {
    try {
      const startedMs = performance.now();
      await called((done) => this.#file.sync(done));
      this.#onSync((performance.now() - startedMs) / 1000);
    } catch (error) {
      await this.discard();
      throw error;
    }
    this.#over = true;
    await called((done) => this.#file.close(done));
    await called((done) => this.#fs.rename(this.#path, this.#target, done));
    await called((done) => this.#fs.syncDirectory(this.#directory, done));
  }

  async discard(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await called((done) => this.#file.close(done));
    await called((done) => this.#fs.remove(this.#path, done));
  }
}

async function writeImage(
  draft: Draft,
  tag: number,
  tables: readonly StoreDatabase[],
  transaction: unknown,
): Promise<void> {
  const header = encodeSnapshotHeader(tag);
  const blocks = new BlockWriter(header);
  await draft.write(header);
  let sliceStart = performance.now();
  let looked = 0;
  for (const [number, table] of tables.entries()) {
    if (number === SYSTEM) continue;
    for (const { key, value } of table.getRange({ start: LOWEST, transaction } as never)) {
      blocks.add(number, key as Uint8Array, value);
      if (blocks.full) await draft.write(blocks.take());
      else if (++looked % LOOK_EVERY !== 0 || performance.now() - sliceStart < SLICE_MS) continue;
      else await nextTurn();
      sliceStart = performance.now();
    }
  }
  const rest = blocks.take();
  if (rest.length > 0) await draft.write(rest);
  await draft.write(blocks.end());
}

/** In transactions small enough not to keep the event loop. */
async function putRecords(
  environment: Environment,
  name: string,
  records: readonly SnapshotRecord[],
): Promise<void> {
  if (records.length === 0) return;
  await environment.root.batch(() => {
    for (const { table, key, value } of records) {
      const database = environment.tables[table];
      if (!database || table === SYSTEM) {
        throw new SnapshotDamaged(
          `image ${name}: a record of table ${table}, there are ${STORE_TABLES.length}`,
        );
      }
      database.put(key, value);
    }
  });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Opens the images in `directory`, for `engine`; removes what an interrupted making or receiving left. */
export async function openSnapshotStore(
  directory: string,
  engine: LmdbEngine,
  options: {
    readonly fs?: Fs;
    /** Told how long the sync of an image took. */
    readonly onSync?: (seconds: number) => void;
  } = {},
): Promise<DiskSnapshotStore> {
  const fs = options.fs ?? nodeFs;
  await called((done) => fs.makeDirectory(directory, done));
  const names = await called<readonly string[]>((done) => fs.list(directory, done));
  for (const name of names) {
    if (name.endsWith(TEMPORARY)) await called((done) => fs.remove(`${directory}/${name}`, done));
  }
  return new DiskSnapshotStore(directory, engine, fs, options.onSync ?? (() => {}));
}
