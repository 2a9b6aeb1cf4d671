/** The data directory and what lies in it, opened in order and closed in the reverse one. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AssertionFailed } from '@muster/base';
import {
  type LmdbEngine,
  openBackups,
  openDataDir,
  openEngine,
  openSnapshotStore,
  openWal,
} from '@muster/disk';
import type { SnapshotStore, StorageUpkeep, Wal, WalContents } from '@muster/member';
import type { SnapshotFiles } from '@muster/wire';
import type { Identity } from './bootstrap.ts';
import { StartRefused } from './command-line.ts';
import type { Logger } from './logger.ts';
import { ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION } from './version.ts';

export type OpenParts = {
  readonly engine: LmdbEngine;
  readonly wal: Wal;
  readonly walContents: WalContents;
  readonly snapshots: SnapshotStore;
  readonly snapshotFiles: SnapshotFiles;
  readonly upkeep: StorageUpkeep;
};

export type Storage = {
  /** `undefined` in a directory that has not been used. */
  readonly identity: Identity | undefined;
  /** Opens log, engine and snapshots for this member, whose name is written down if it is the first time. */
  open(identity: Identity, name: string): Promise<OpenParts>;
  close(): Promise<void>;
};

/** Told how long writes took, in seconds. */
type StorageTimings = {
  readonly onLogSync: (seconds: number, bytes: number) => void;
  readonly onEngineCommit: (seconds: number) => void;
  readonly onImageSync: (seconds: number) => void;
};

/** Locks the directory, creating it when there is none. Throws `StartRefused` when it cannot be used. */
export async function openStorage(
  places: { readonly dataDir: string; readonly walDir: string | undefined },
  logger: Logger,
  timings: StorageTimings,
): Promise<Storage> {
  const directory = await refusing(openDataDir(resolve(places.dataDir)));
  const walPath = await refusing(walPathOf(directory.walPath, places.walDir));
  const closers: (() => Promise<void>)[] = [() => directory.close()];
  return {
    identity: directory.identity,
    open: (identity, name) => refusing(openParts(identity, name)),
    async close() {
      for (const close of closers.splice(0).reverse()) await close();
    },
  };

  async function openParts(identity: Identity, name: string): Promise<OpenParts> {
    const engine = openEngine(directory.kvPath, {
      onError: (error) => logger.error({ error: error.message }, 'the engine cannot write'),
      onCommit: timings.onEngineCommit,
    });
    closers.push(() => engine.close());
    const { wal, contents } = await openWal(walPath, {
      onSync: timings.onLogSync,
      // The identity is written when the log is there.
      mustExist: directory.identity !== undefined,
    });
    closers.push(() => new Promise((done) => wal.close(done)));
    const snapshots = await openSnapshotStore(directory.snapPath, engine, {
      onSync: timings.onImageSync,
    });
    const backups = await openBackups({
      engine,
      directory: directory.snapPath,
      clusterVersion: ETCD_CLUSTER_VERSION,
      storageVersion: ETCD_STORAGE_VERSION,
    });
    const upkeep: StorageUpkeep = {
      snapshot: (signal) => backups.snapshot(signal),
      defragment: () => snapshots.defragment(),
    };
    if (directory.identity === undefined) {
      const { memberId, clusterId } = identity;
      await directory.setIdentity({ memberId, clusterId, name });
    }
    return { engine, wal, walContents: contents, snapshots, snapshotFiles: snapshots, upkeep };
  }
}

/** `--wal-dir` is made when it is not there. */
async function walPathOf(inside: string, walDir: string | undefined): Promise<string> {
  if (walDir === undefined) return inside;
  const path = resolve(walDir);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return path;
}

/** What the disk package throws is a sentence for the operator, unless it is a mistake in the program. */
async function refusing<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const bugs = [AssertionFailed, TypeError, RangeError, ReferenceError, SyntaxError];
    if (!(error instanceof Error) || bugs.some((bug) => error instanceof bug)) throw error;
    throw new StartRefused(error.message);
  }
}
