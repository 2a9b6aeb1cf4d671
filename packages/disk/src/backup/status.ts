import { createHash } from 'node:crypto';
import { crc32c } from '@muster/base';
import { BoltDamaged } from '../bolt/format.ts';
import { BoltFile } from '../bolt/reader.ts';
import { type BoltSource, fileSource } from '../bolt/source.ts';

const HASH_BYTES = 32;
/** Of a database's size: what remains is its checksum. */
const SIZE_UNIT = 512;
const READ_BYTES = 1024 * 1024;

export type SnapshotStatus = {
  /** CRC-32C over the names of buckets and their keys and values, in order. */
  readonly hash: number;
  /** Of the newest change in the file; 0 when there is none. */
  readonly revision: number;
  readonly totalKeys: number;
  readonly totalSize: number;
  /** Of the storage format, such as `3.6.0`; absent from files of etcd before 3.6. */
  readonly version?: string;
};

/** The snapshot is not whole; the message is etcd's where etcd has one. */
export class SnapshotRefused extends Error {
  override readonly name = 'SnapshotRefused';
}

/**
 * What `etcdctl snapshot status` says of a file. Works on a database without a checksum too, and does not compare the
 * checksum, as etcd does not.
 */
export function snapshotStatus(path: string): SnapshotStatus {
  return withSource(path, (source) => {
    const file = openBolt(source, path);
    let hash = 0;
    let revision = 0;
    let totalKeys = 0;
    let version: string | undefined;
    for (const { name, entries } of file.buckets()) {
      hash = crc32c(name, hash);
      const bucket = name.toString('latin1');
      for (const [key, value] of entries()) {
        hash = crc32c(value, crc32c(key, hash));
        totalKeys++;
        if (bucket === 'key' && key.length >= 8) revision = Number(key.readBigUInt64BE(0));
        if (bucket === 'meta' && key.toString('latin1') === 'storageVersion')
          version = value.toString('utf8');
      }
    }
    return { hash, revision, totalKeys, totalSize: file.bytes, ...(version !== undefined && { version }) };
  });
}

/**
 * Compares the checksum at the file's end with its content. Throws `SnapshotRefused` in etcd's words: without a
 * checksum, or when they differ.
 */
export function verifySnapshot(path: string): void {
  withSource(path, (source) => checkHash(source));
}

/** Bytes of the database in a snapshot: those before the checksum, when there is one. */
function databaseBytes(source: BoltSource): number {
  return hasHash(source) ? source.size - HASH_BYTES : source.size;
}

export function checkHash(source: BoltSource): void {
  if (!hasHash(source)) throw new SnapshotRefused('snapshot missing hash but --skip-hash-check=false');
  const end = source.size - HASH_BYTES;
  const expected = source.read(end, HASH_BYTES);
  const hash = createHash('sha256');
  for (let at = 0; at < end; at += READ_BYTES) hash.update(source.read(at, Math.min(READ_BYTES, end - at)));
  const got = hash.digest();
  if (!got.equals(expected)) {
    throw new SnapshotRefused(`expected sha256 [${[...expected].join(' ')}], got [${[...got].join(' ')}]`);
  }
}

export function openBolt(source: BoltSource, path: string): BoltFile {
  try {
    return new BoltFile(source, databaseBytes(source));
  } catch (error) {
    if (error instanceof BoltDamaged) throw new BoltDamaged(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

function withSource<T>(path: string, run: (source: BoltSource) => T): T {
  const source = fileSource(path);
  try {
    return run(source);
  } finally {
    source.close();
  }
}

function hasHash(source: BoltSource): boolean {
  return source.size % SIZE_UNIT === HASH_BYTES;
}
