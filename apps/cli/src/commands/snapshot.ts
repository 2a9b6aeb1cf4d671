import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SnapshotChunk } from '@muster/kv';
import { fileErrorText } from '../client.ts';
import { badArgs, Exit, errorText, Failure } from '../failure.ts';
import type { Io } from '../io.ts';
import type { Run } from '../line/command.ts';
import { humanBytes } from '../print/go-text.ts';
import { bar, progressLine } from '../progress.ts';
import type { RESTORE_FLAGS } from '../tree/other.ts';

type NoFlags = Record<never, never>;

const HASH_BYTES = 32;
/** Database pages are multiples of this, so what is over is the hash. */
const PAGE_UNIT = 512;

/** Into FILE.part first: FILE is there only when it is whole, checked and on disk. */
export const snapshotSave: Run<NoFlags> = async (call) => {
  const [path] = call.args;
  if (path === undefined || call.args.length !== 1) throw badArgs('snapshot save expects one argument');
  const { endpoints } = call.globals;
  if (endpoints.length !== 1) {
    throw new Failure(
      `snapshot must be requested to one selected node, not multiple [${endpoints.join(' ')}]`,
      Exit.INTERRUPTED,
    );
  }
  const { api } = await call.connect();
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600).catch((error: unknown) => {
    throw new Failure(`could not open ${part} (${fileErrorText('open', part, error)})`, Exit.INTERRUPTED);
  });
  try {
    await download(api.snapshot({ signal: call.signal }), file, call.io);
    await file.sync();
    await file.close();
    await rename(part, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
    if (error instanceof Failure) throw error;
    throw new Failure(call.signal.aborted ? 'interrupted' : errorText(error), Exit.INTERRUPTED);
  }
  call.io.out(`Snapshot saved at ${path}\n`);
};

/** Writes the stream and checks it against the hash that ends it. */
async function download(chunks: AsyncIterable<SnapshotChunk>, file: FileHandle, io: Io): Promise<void> {
  const progress = progressLine(io);
  const hash = createHash('sha256');
  let tail = new Uint8Array();
  let size = 0;
  try {
    for await (const { blob, remainingBytes } of chunks) {
      await file.appendFile(blob);
      size += blob.length;
      const joined = tail.length === 0 ? blob : Buffer.concat([tail, blob]);
      const keep = Math.min(HASH_BYTES, joined.length);
      hash.update(joined.subarray(0, joined.length - keep));
      tail = Uint8Array.from(joined.subarray(joined.length - keep));
      progress.update(`${bar(size, size + remainingBytes)} ${humanBytes(size)}`);
    }
  } finally {
    progress.done();
  }
  if (size % PAGE_UNIT !== HASH_BYTES) {
    throw new Failure(
      `sha256 checksum not found [bytes: ${size}]: the stream ended before its end`,
      Exit.INTERRUPTED,
    );
  }
  const got = hash.digest();
  if (!got.equals(tail)) {
    throw new Failure(
      `expected sha256 [${[...tail].join(' ')}], got [${[...got].join(' ')}]`,
      Exit.INTERRUPTED,
    );
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export const snapshotStatusOf: Run<NoFlags> = async (call) => {
  const [path] = call.args;
  if (path === undefined || call.args.length !== 1) {
    throw badArgs('snapshot status requires exactly one argument');
  }
  const { snapshotStatus } = await import('@muster/disk');
  const { hash, revision, totalKeys, totalSize } = statusOf(snapshotStatus, path);
  const row = [hash.toString(16), String(revision), String(totalKeys), humanBytes(totalSize)];
  await call.printer.print({
    simple: () => [`${row.join(', ')}\n`],
    fields: () => [
      `"Hash" : ${hash}\n"Revision" : ${revision}\n"Keys" : ${totalKeys}\n"Size" : ${totalSize}\n`,
    ],
    json: () => ({ hash, revision, totalKey: totalKeys, totalSize }),
    table: () => ({ head: ['HASH', 'REVISION', 'TOTAL KEYS', 'TOTAL SIZE'], rows: [row] }),
  });
};

function statusOf<T>(read: (path: string) => T, path: string): T {
  try {
    return read(path);
  } catch (error) {
    throw fileFailure('stat', path, error);
  }
}

export const snapshotRestore: Run<typeof RESTORE_FLAGS> = async (call) => {
  const { args, flags } = call;
  const [path] = args;
  if (path === undefined || args.length !== 1) {
    throw badArgs('snapshot restore requires exactly one argument');
  }
  const dataDir = flags['data-dir'] === '' ? `${flags.name}.etcd` : flags['data-dir'];
  if (flags['wal-dir'] !== '' && !flags['wal-dir'].startsWith(`${dataDir}/`)) {
    throw badArgs(`--wal-dir ${flags['wal-dir']}: Muster keeps its log in the data directory ${dataDir}`);
  }
  if (flags['bump-revision'] < 0) throw badArgs('--bump-revision: expected a positive number');
  if (flags['bump-revision'] > 0 !== flags['mark-compacted']) {
    throw badArgs('--mark-compacted required if --revision-bump');
  }
  const { parseInitialCluster, restoreSnapshot } = await import('@muster/disk');
  const progress = progressLine(call.io);
  try {
    await restoreSnapshot({
      snapshot: path,
      name: flags.name,
      initialCluster: parseInitialCluster(flags['initial-cluster']),
      initialClusterToken: flags['initial-cluster-token'],
      initialAdvertisePeerUrls: flags['initial-advertise-peer-urls'].split(','),
      dataDir,
      skipHashCheck: flags['skip-hash-check'],
      ...(flags['bump-revision'] > 0 && { bumpRevision: flags['bump-revision'], markCompacted: true }),
      onProgress: (records) => progress.update(`${records} records restored`),
    });
  } catch (error) {
    throw fileFailure('open', path, error);
  } finally {
    progress.done();
  }
};

/** A missing file in etcdctl's words; other errors as they are. */
function fileFailure(operation: string, path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' ? new Failure(fileErrorText(operation, path, error)) : error;
}
