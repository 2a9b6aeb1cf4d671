import { called, errorCode, type Fs, readWholeFile, writeFileAtomic } from './fs.ts';
import { type FileLock, lockFile } from './lock.ts';
import { nodeFs } from './node-fs.ts';

const FORMAT_VERSION = 1;
const MEMBER_FILE = 'member.json';
/** There while a snapshot is being restored into the directory. */
export const RESTORING_FILE = 'RESTORING';

/** Who this data directory belongs to; written once, at first boot. */
export type MemberIdentity = {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly name: string;
};

/** A member's data directory, locked for this process. */
export interface DataDir {
  readonly path: string;
  readonly walPath: string;
  readonly kvPath: string;
  readonly snapPath: string;
  /** `undefined` before the first boot has come as far as writing it. */
  readonly identity: MemberIdentity | undefined;
  /** Writes `member.json`, durable and whole or not at all. */
  setIdentity(identity: MemberIdentity): Promise<void>;
  /** Gives the lock back. */
  close(): Promise<void>;
}

/**
 * Creates the layout as far as it is missing and locks it. Fails with `DataDirLocked` when another process has it, and
 * with a plain sentence when it belongs to a newer program or is not readable.
 */
export async function openDataDir(
  path: string,
  options: { readonly fs?: Fs; readonly restoring?: boolean } = {},
): Promise<DataDir> {
  const fs = options.fs ?? nodeFs;
  const paths = { path, walPath: `${path}/wal`, kvPath: `${path}/kv`, snapPath: `${path}/snap` };
  await called((done) => fs.makeDirectory(path, done));
  const lock = await lockFile(`${path}/LOCK`);
  try {
    if (!options.restoring) await checkRestored(fs, path);
    for (const directory of [paths.walPath, paths.kvPath, paths.snapPath]) {
      await called((done) => fs.makeDirectory(directory, done));
    }
    await called((done) => fs.syncDirectory(path, done));
    return new LockedDataDir(paths, fs, lock, await readIdentity(fs, `${path}/${MEMBER_FILE}`));
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function checkRestored(fs: Fs, path: string): Promise<void> {
  const names = await called<readonly string[]>((done) => fs.list(path, done));
  if (!names.includes(RESTORING_FILE)) return;
  throw new Error(
    `${path} holds a snapshot whose restoring was cut short: remove the directory and restore it again`,
  );
}

type Paths = Pick<DataDir, 'path' | 'walPath' | 'kvPath' | 'snapPath'>;

class LockedDataDir implements DataDir {
  readonly path: string;
  readonly walPath: string;
  readonly kvPath: string;
  readonly snapPath: string;
  readonly #fs: Fs;
  readonly #lock: FileLock;
  #identity: MemberIdentity | undefined;

  constructor(paths: Paths, fs: Fs, lock: FileLock, identity: MemberIdentity | undefined) {
    this.path = paths.path;
    this.walPath = paths.walPath;
    this.kvPath = paths.kvPath;
    this.snapPath = paths.snapPath;
    this.#fs = fs;
    this.#lock = lock;
    this.#identity = identity;
  }

  get identity(): MemberIdentity | undefined {
    return this.#identity;
  }

  async setIdentity(identity: MemberIdentity): Promise<void> {
    const { clusterId, memberId, name } = identity;
    const file = {
      formatVersion: FORMAT_VERSION,
      clusterId: clusterId.toString(16),
      memberId: memberId.toString(16),
      name,
    };
    await writeFileAtomic(
      this.#fs,
      this.path,
      MEMBER_FILE,
      Buffer.from(`${JSON.stringify(file, null, 2)}\n`),
    );
    this.#identity = identity;
  }

  close(): Promise<void> {
    return this.#lock.release();
  }
}

async function readIdentity(fs: Fs, path: string): Promise<MemberIdentity | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readWholeFile(fs, path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const file = parse(path, Buffer.from(bytes).toString('utf8'));
  if (file.formatVersion !== FORMAT_VERSION) {
    throw new Error(
      `${path} has format version ${file.formatVersion}, this program reads ${FORMAT_VERSION}: use the program that wrote it`,
    );
  }
  return {
    clusterId: id(path, file, 'clusterId'),
    memberId: id(path, file, 'memberId'),
    name: String(file.name),
  };
}

function parse(path: string, text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new Error(
      `${path} is not valid JSON: restore it from a backup or remove this member and add it again`,
      {
        cause,
      },
    );
  }
}

function id(path: string, file: Record<string, unknown>, name: string): bigint {
  const text = file[name];
  if (typeof text !== 'string' || !/^[0-9a-f]{1,16}$/.test(text)) {
    throw new Error(
      `${path}: ${name} must be a hexadecimal number of up to 16 digits, it is ${JSON.stringify(text)}`,
    );
  }
  return BigInt(`0x${text}`);
}
