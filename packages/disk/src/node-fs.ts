import fs from 'node:fs';
import type { Done, DoneWith, Fs, FsFile, OpenMode } from './fs.ts';

const { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants;
// Where the platform has no O_DSYNC, O_SYNC does the same and a little more.
const O_DSYNC = fs.constants.O_DSYNC ?? fs.constants.O_SYNC ?? 0;

const FLAGS: Record<OpenMode, number> = {
  read: O_RDONLY,
  update: O_RDWR | O_DSYNC,
  create: O_RDWR | O_CREAT | O_TRUNC,
  createDurable: O_RDWR | O_CREAT | O_TRUNC | O_DSYNC,
};
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

function plain(done: Done): (error: Error | null) => void {
  return (error) => (error ? done(error) : done());
}

class NodeFile implements FsFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(target: Uint8Array, position: number, done: DoneWith<number>): void {
    const step = (filled: number): void => {
      fs.read(this.#fd, target, filled, target.length - filled, position + filled, (error, count) => {
        if (error) done(error, undefined);
        else if (count === 0 || filled + count === target.length) done(undefined, filled + count);
        else step(filled + count);
      });
    };
    step(0);
  }

  write(bytes: Uint8Array, position: number, done: Done): void {
    const step = (written: number): void => {
      fs.write(this.#fd, bytes, written, bytes.length - written, position + written, (error, count) => {
        if (error) done(error);
        else if (written + count === bytes.length) done();
        else step(written + count);
      });
    };
    step(0);
  }

  sync(done: Done): void {
    fs.fsync(this.#fd, plain(done));
  }

  size(done: DoneWith<number>): void {
    fs.fstat(this.#fd, (error, stats) => (error ? done(error, undefined) : done(undefined, stats.size)));
  }

  close(done: Done): void {
    fs.close(this.#fd, plain(done));
  }
}

class NodeFs implements Fs {
  open(path: string, mode: OpenMode, done: DoneWith<FsFile>): void {
    fs.open(path, FLAGS[mode], FILE_MODE, (error, fd) =>
      error ? done(error, undefined) : done(undefined, new NodeFile(fd)),
    );
  }

  list(path: string, done: DoneWith<readonly string[]>): void {
    fs.readdir(path, (error, names) => (error ? done(error, undefined) : done(undefined, names)));
  }

  makeDirectory(path: string, done: Done): void {
    fs.mkdir(path, { recursive: true, mode: DIRECTORY_MODE }, plain(done));
  }

  syncDirectory(path: string, done: Done): void {
    // A directory cannot be opened on Windows; its file system orders such changes itself.
    if (process.platform === 'win32') return this.defer(() => done());
    fs.open(path, O_RDONLY, (openError, fd) => {
      if (openError) return done(openError);
      fs.fsync(fd, (syncError) => fs.close(fd, (closeError) => plain(done)(syncError ?? closeError ?? null)));
    });
  }

  rename(from: string, to: string, done: Done): void {
    fs.rename(from, to, plain(done));
  }

  remove(path: string, done: Done): void {
    fs.rm(path, { force: true }, plain(done));
  }

  defer(run: () => void): void {
    queueMicrotask(run);
  }
}

/** The real file system. */
export const nodeFs: Fs = new NodeFs();
