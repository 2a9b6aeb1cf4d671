import { createHash } from 'node:crypto';
import { KvError } from '@muster/contract';
import { type BackendStamp, type EngineView, etcdBuckets, type SnapshotChunk } from '@muster/kv';
import { decodeRaftMeta, RAFT_META_KEY } from '@muster/member';
import { BoltWriter, PAGES_START } from '../bolt/writer.ts';
import { called, type Fs, type FsFile } from '../fs.ts';
import type { LmdbEngine } from '../lmdb/engine.ts';
import { nodeFs } from '../node-fs.ts';

/** Backups that are made or downloaded at once: each needs room for a copy of the data. */
const BACKUPS_MAX = 2;
/** As etcd sends them. */
const CHUNK_BYTES = 32 * 1024;
/** Read from the disk at once. */
const READ_BYTES = 512 * 1024;
/** Longest time that making a backup keeps the event loop. */
const SLICE_MS = 2;
/** The clock is looked at after so many records. */
const LOOK_EVERY = 32;
/** What an interrupted one leaves is removed by this name at the next start. */
const SUFFIX = '.backup.part';

export type BackupOptions = {
  readonly engine: LmdbEngine;
  /** Where the file is while it is sent: the directory of snapshots, on the disk of the data. */
  readonly directory: string;
  /** etcd's versions that the file claims, such as `3.6.0`. */
  readonly clusterVersion: string;
  readonly storageVersion: string;
  readonly fs?: Fs;
};

/**
 * Copies of the whole store as a file of etcd's format: all of one applied index, made while writes go on, then sent
 * from the disk, so that a slow receiver holds nothing back.
 */
export class Backups {
  readonly #options: BackupOptions;
  readonly #fs: Fs;
  #running = 0;
  #made = 0;

  constructor(options: BackupOptions) {
    this.#options = options;
    this.#fs = options.fs ?? nodeFs;
  }

  /** Chunks of the file, then its SHA-256. Abandoning the iteration removes the file. */
  async *snapshot(signal?: AbortSignal): AsyncGenerator<SnapshotChunk, void, undefined> {
    if (this.#running >= BACKUPS_MAX) {
      throw new KvError('TOO_MANY_REQUESTS', { detail: `${BACKUPS_MAX} snapshots are being taken already` });
    }
    this.#running++;
    const path = `${this.#options.directory}/${++this.#made}${SUFFIX}`;
    try {
      const file = await called<FsFile>((done) => this.#fs.open(path, 'create', done));
      try {
        const size = await this.#make(file, signal);
        yield* this.#send(file, size, signal);
      } finally {
        await this.#discard(file, path);
      }
    } finally {
      this.#running--;
    }
  }

  /** What goes wrong here takes nothing from the backup; what stays is removed at the next start. */
  async #discard(file: FsFile, path: string): Promise<void> {
    await called((done) => file.close(done)).catch(() => {});
    await called((done) => this.#fs.remove(path, done)).catch(() => {});
  }

  async #make(file: FsFile, signal: AbortSignal | undefined): Promise<number> {
    const { engine } = this.#options;
    const view = await called<EngineView>((done) => engine.view(done));
    try {
      return await writeBackend(view, this.#stamp(view), file, signal);
    } finally {
      view.close();
    }
  }

  #stamp(view: EngineView): BackendStamp {
    const { clusterVersion, storageVersion } = this.#options;
    const record = view.get('meta', RAFT_META_KEY);
    if (!record) throw new KvError('UNAVAILABLE', { detail: 'nothing is stored yet' });
    const { index, term, confState } = decodeRaftMeta(record);
    const { voters, learners } = confState;
    return { index, term, voters, learners, clusterVersion, storageVersion };
  }

  async *#send(
    file: FsFile,
    size: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<SnapshotChunk, void, undefined> {
    const version = this.#options.storageVersion;
    const hash = createHash('sha256');
    for (let position = 0; position < size; ) {
      const block = new Uint8Array(Math.min(READ_BYTES, size - position));
      const read = await called<number>((done) => file.read(block, position, done));
      if (read < block.length) throw new KvError('INTERNAL', { detail: 'a snapshot file became shorter' });
      for (let at = 0; at < block.length; at += CHUNK_BYTES) {
        checkAborted(signal);
        const blob = block.subarray(at, at + CHUNK_BYTES);
        hash.update(blob);
        position += blob.length;
        yield { blob, remainingBytes: size - position, version };
      }
    }
    yield { blob: new Uint8Array(hash.digest()), remainingBytes: 0, version };
  }
}

/** Removes what an interrupted backup left. */
export async function openBackups(options: BackupOptions): Promise<Backups> {
  const fs = options.fs ?? nodeFs;
  const names = await called<readonly string[]>((done) => fs.list(options.directory, done));
  for (const name of names) {
    if (name.endsWith(SUFFIX)) await called((done) => fs.remove(`${options.directory}/${name}`, done));
  }
  return new Backups(options);
}

/** Writes the file; returns its size. Never keeps the event loop for long, and of the data only a block in memory. */
async function writeBackend(
  view: EngineView,
  stamp: BackendStamp,
  file: FsFile,
  signal?: AbortSignal,
): Promise<number> {
  const writer = new BoltWriter();
  let position = PAGES_START;
  const drain = async () => {
    const block = writer.take();
    await called((done) => file.write(block, position, done));
    position += block.length;
  };
  let sliceStart = performance.now();
  let looked = 0;
  for (const { name, entries } of etcdBuckets(view, stamp)) {
    writer.beginBucket(Buffer.from(name));
    for (const [key, value] of entries) {
      writer.add(key, value);
      if (writer.full) await drain();
      else if (++looked % LOOK_EVERY !== 0 || performance.now() - sliceStart < SLICE_MS) continue;
      else await new Promise((resolve) => setImmediate(resolve));
      checkAborted(signal);
      sliceStart = performance.now();
    }
    writer.endBucket();
  }
  const head = writer.finish();
  await drain();
  await called((done) => file.write(head, 0, done));
  return position;
}

function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new KvError('CANCELED');
}
