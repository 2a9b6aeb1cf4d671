/**
 * The file system as the log and the snapshots use it. Callbacks, so that a simulated disk can stand in and be stepped
 * synchronously. No callback runs from inside the call that takes it. Errors carry Node's `code` ('ENOSPC', 'EIO').
 */
export type Done = (error?: Error) => void;
export type DoneWith<T> = (error: Error | undefined, value: T | undefined) => void;

export type OpenMode =
  /** An existing file, to read. */
  | 'read'
  /** An existing file, to read and write; every write is durable when it completes (O_DSYNC). */
  | 'update'
  /** A new or emptied file, to read and write; writes are durable after `sync`. */
  | 'create'
  /** A new or emptied file, to read and write; every write is durable when it completes (O_DSYNC). */
  | 'createDurable';

export interface FsFile {
  /** Fills `target` from `position`; fewer bytes only at the end of the file. */
  read(target: Uint8Array, position: number, done: DoneWith<number>): void;
  /** Writes all of `bytes` or fails; after a failure any part of them may have been written. */
  write(bytes: Uint8Array, position: number, done: Done): void;
  sync(done: Done): void;
  size(done: DoneWith<number>): void;
  close(done: Done): void;
}

export interface Fs {
  open(path: string, mode: OpenMode, done: DoneWith<FsFile>): void;
  /** Names in a directory, in no particular order. */
  list(path: string, done: DoneWith<readonly string[]>): void;
  /** Creates the directory and those above it; existing ones are fine. */
  makeDirectory(path: string, done: Done): void;
  /** Makes creations, renames and removals in a directory durable. */
  syncDirectory(path: string, done: Done): void;
  /** Replaces `to` atomically. */
  rename(from: string, to: string, done: Done): void;
  /** Removes a file; one that is not there is fine. */
  remove(path: string, done: Done): void;
  /** Runs `run` soon, not from inside this call. */
  defer(run: () => void): void;
}

/** The machine has no room for more: what failed may be tried again once there is. */
export function isFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export function errorCode(error: unknown): string | undefined {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Awaits a call that completes by callback: `await called((done) => fs.list(path, done))`. */
export function called<T = void>(run: (done: (error?: Error, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    run((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

/** Writes a whole file and makes it durable under its name: a crash leaves the old content or the new. */
export async function writeFileAtomic(
  fs: Fs,
  directory: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = `${directory}/${name}.tmp`;
  const file = await called<FsFile>((done) => fs.open(temporary, 'create', done));
  try {
    await called((done) => file.write(bytes, 0, done));
    await called((done) => file.sync(done));
  } finally {
    await called((done) => file.close(done));
  }
  await called((done) => fs.rename(temporary, `${directory}/${name}`, done));
  await called((done) => fs.syncDirectory(directory, done));
}

/** The whole content of a file. */
export async function readWholeFile(fs: Fs, path: string): Promise<Uint8Array> {
  const file = await called<FsFile>((done) => fs.open(path, 'read', done));
  try {
    const size = await called<number>((done) => file.size(done));
    const bytes = new Uint8Array(size);
    const read = await called<number>((done) => file.read(bytes, 0, done));
    return bytes.subarray(0, read);
  } finally {
    await called((done) => file.close(done));
  }
}
