import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { BackendDamaged, BackendImport, type MemberInfo } from '@muster/kv';
import { encodeRaftMeta, RAFT_META_KEY, type Wal, type WalError } from '@muster/member';
import { BoltDamaged } from '../bolt/format.ts';
import type { BoltFile } from '../bolt/reader.ts';
import { fileSource } from '../bolt/source.ts';
import { openDataDir, RESTORING_FILE } from '../data-dir.ts';
import { called, type Fs, writeFileAtomic } from '../fs.ts';
import { type LmdbEngine, openEngine } from '../lmdb/engine.ts';
import { clusterIdOf, memberIdOf } from '../member-ids.ts';
import { nodeFs } from '../node-fs.ts';
import { openWal } from '../wal/open.ts';
import { checkHash, openBolt, SnapshotRefused } from './status.ts';

/** Records between two waits for the disk. */
const BATCH_RECORDS = 2000;
/** As etcd starts a restored member: an entry for each member, all of term 1. */
const TERM = 1;

export type RestoreOptions = {
  /** The file: of Muster or of etcd 3.4 and later, or with `skipHashCheck` the database of etcd's data directory. */
  readonly snapshot: string;
  readonly name: string;
  /** Names to peer URLs of the whole new cluster; the same for every member that is restored. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>;
  readonly initialClusterToken: string;
  readonly initialAdvertisePeerUrls: readonly string[];
  /** Must not be there yet, or be empty. */
  readonly dataDir: string;
  readonly skipHashCheck?: boolean;
  /** Added to the revision, so that no revision of the old cluster comes again with another meaning. */
  readonly bumpRevision?: number;
  /** Marks everything up to the new revision as compacted, so that watches of the old cluster notice. */
  readonly markCompacted?: boolean;
  /** Told of how many records there have been so far. */
  readonly onProgress?: (records: number) => void;
  readonly fs?: Fs;
};

export type RestoredMember = {
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly members: readonly MemberInfo[];
  readonly revision: number;
};

/**
 * Makes a data directory out of a snapshot: its data under a new membership, a member of which starts from it with
 * `--initial-cluster-state` new or existing. Throws `SnapshotRefused`, `BoltDamaged` or `BackendDamaged` when the
 * snapshot is not whole, and leaves nothing behind then.
 */
export async function restoreSnapshot(options: RestoreOptions): Promise<RestoredMember> {
  const members = membersOf(options);
  const memberId = (members.find(({ name }) => name === options.name) as MemberInfo).id;
  const clusterId = clusterIdOf(members.map(({ id }) => id));
  const path = resolve(options.dataDir);
  const isNew = checkEmpty(path, options.dataDir);
  const fs = options.fs ?? nodeFs;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  try {
    // Durable before anything else is: half of a snapshot without the mark would pass for a member's data.
    await writeFileAtomic(fs, path, RESTORING_FILE, new Uint8Array(0));
    // Where that may not be opened, its file system is trusted.
    await called((done) => fs.syncDirectory(dirname(path), done)).catch(() => {});
    const revision = await fill(path, { ...options, members, memberId, clusterId });
    return { memberId, clusterId, members, revision };
  } catch (error) {
    if (isNew) rmSync(path, { recursive: true, force: true });
    else for (const name of readdirSync(path)) rmSync(`${path}/${name}`, { recursive: true, force: true });
    throw named(error, options.snapshot);
  }
}

/** The members that the options describe, with their ids. */
function membersOf(options: RestoreOptions): MemberInfo[] {
  const { initialCluster, initialClusterToken, name } = options;
  const own = initialCluster.get(name);
  if (own === undefined) {
    throw new SnapshotRefused(`couldn't find local name "${name}" in the initial cluster configuration`);
  }
  const advertised = [...options.initialAdvertisePeerUrls].sort();
  const missing = own.filter((url) => !advertised.includes(url));
  const extra = advertised.filter((url) => !own.includes(url));
  if (missing.length > 0 || extra.length > 0) {
    const pairs = (missing.length > 0 ? missing : own).map((url) => `${name}=${url}`).join(',');
    throw new SnapshotRefused(
      missing.length > 0
        ? `--initial-cluster has ${pairs} but missing from --initial-advertise-peer-urls=${advertised.join(',')}`
        : `--initial-advertise-peer-urls has ${extra.join(',')} but missing from --initial-cluster=${pairs}`,
    );
  }
  const urls = [...initialCluster.values()].flat();
  if (new Set(urls).size !== urls.length) throw new SnapshotRefused('initial cluster has duplicate url');
  return [...initialCluster].map(([each, peerUrls]) => ({
    id: memberIdOf(peerUrls, initialClusterToken),
    name: each,
    peerUrls: [...peerUrls].sort(),
    clientUrls: [],
    isLearner: false,
  }));
}

/** True when the directory is not there yet. */
function checkEmpty(path: string, given: string): boolean {
  if (!existsSync(path)) return true;
  try {
    if (readdirSync(path).length === 0) return false;
  } catch {
    // Said below.
  }
  throw new SnapshotRefused(`data-dir "${given}" not empty or could not be read`);
}

type Plan = RestoreOptions & {
  readonly members: readonly MemberInfo[];
  readonly memberId: bigint;
  readonly clusterId: bigint;
};

async function fill(path: string, plan: Plan): Promise<number> {
  const index = plan.members.length;
  const fs = plan.fs ?? nodeFs;
  const directory = await openDataDir(path, { fs, restoring: true });
  try {
    const engine = openEngine(directory.kvPath);
    let revision: number;
    try {
      revision = await fillEngine(engine, index, plan);
    } finally {
      await engine.close();
    }
    const { wal } = await openWal(directory.walPath);
    try {
      await resetWal(wal, index);
    } finally {
      await new Promise<void>((done) => wal.close(done));
    }
    const { memberId, clusterId, name } = plan;
    await directory.setIdentity({ memberId, clusterId, name });
    await called((done) => fs.remove(`${path}/${RESTORING_FILE}`, done));
    await called((done) => fs.syncDirectory(path, done));
    return revision;
  } finally {
    await directory.close();
  }
}

function resetWal(wal: Wal, index: number): Promise<void> {
  const hardState = { term: TERM, vote: 0n, commit: index };
  return called((done) => wal.reset(index, TERM, hardState, done as (error?: WalError) => void));
}

async function fillEngine(engine: LmdbEngine, index: number, plan: Plan): Promise<number> {
  const into = new BackendImport(engine);
  const settle = async () => {
    engine.commit(index);
    await called((done) => engine.flush(done));
    plan.onProgress?.(into.records);
  };
  const source = fileSource(plan.snapshot);
  try {
    if (!plan.skipHashCheck) checkHash(source);
    await importBuckets(openBolt(source, plan.snapshot), into, settle);
  } finally {
    source.close();
  }
  const revision = into.finish(plan);
  const confState = {
    voters: plan.members.map(({ id }) => id),
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  engine.put('meta', RAFT_META_KEY, encodeRaftMeta({ index, term: TERM, confState }));
  await settle();
  return revision;
}

async function importBuckets(
  file: BoltFile,
  into: BackendImport,
  settle: () => Promise<void>,
): Promise<void> {
  let hasKeys = false;
  for (const { name, entries } of file.buckets()) {
    const bucket = name.toString('latin1');
    hasKeys ||= bucket === 'key';
    for (const [key, value] of entries()) {
      into.add(bucket, key, value);
      if (into.records % BATCH_RECORDS === 0) await settle();
    }
  }
  if (!hasKeys) throw new BackendDamaged('the database has no bucket "key": etcd has not written it');
}

/** What is wrong within a file is told with the file's name. */
function named(error: unknown, path: string): unknown {
  const isDamage = error instanceof BoltDamaged || error instanceof BackendDamaged;
  if (!isDamage || error.message.startsWith(path)) return error;
  return new SnapshotRefused(`${path}: ${error.message}`, { cause: error });
}

/** `name=url,name=url` as `--initial-cluster` has it; a name may come several times. */
export function parseInitialCluster(text: string): ReadonlyMap<string, readonly string[]> {
  const cluster = new Map<string, string[]>();
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, equals).trim();
    const url = pair.slice(equals + 1).trim();
    if (equals < 1 || url === '') {
      throw new SnapshotRefused(`invalid initial cluster "${text}": expected name=url,name=url`);
    }
    cluster.set(name, [...(cluster.get(name) ?? []), url].sort());
  }
  return cluster;
}
