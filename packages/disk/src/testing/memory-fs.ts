/** A file system in memory that fails, tears and forgets as told: for tests of what is built on the Fs port. */
import type { Done, DoneWith, Fs, FsFile, OpenMode } from '../fs.ts';

type Fault = {
  readonly code: string /** Bytes of the write that still get through. */;
  readonly written?: number;
};

type Stored = { path: string; bytes: Buffer };

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: told to fail`), { code });
}

export class MemoryFs implements Fs {
  readonly files = new Map<string, Stored>();
  /** Asked before every write; what it returns happens to it. */
  onWrite: ((path: string, position: number, length: number) => Fault | undefined) | undefined;
  /** Asked before every other operation. */
  onOperation: ((operation: string, path: string) => Fault | undefined) | undefined;
  writes = 0;

  /** What a process would find after a crash in which everything written was kept. */
  copy(): MemoryFs {
    const copy = new MemoryFs();
    for (const [path, { bytes }] of this.files) copy.files.set(path, { path, bytes: Buffer.from(bytes) });
    return copy;
  }

  open(path: string, mode: OpenMode, done: DoneWith<FsFile>): void {
    this.#run('open', path, done, () => {
      if (mode === 'create' || mode === 'createDurable')
        this.files.set(path, { path, bytes: Buffer.alloc(0) });
      const stored = this.files.get(path);
      if (!stored) throw failure('ENOENT');
      return new MemoryFile(this, stored);
    });
  }

  list(path: string, done: DoneWith<readonly string[]>): void {
    this.#run('list', path, done, () =>
      [...this.files.keys()].filter((p) => p.startsWith(`${path}/`)).map((p) => p.slice(path.length + 1)),
    );
  }

  makeDirectory(path: string, done: Done): void {
    this.#run('makeDirectory', path, done, () => undefined);
  }

  syncDirectory(path: string, done: Done): void {
    this.#run('syncDirectory', path, done, () => undefined);
  }

  rename(from: string, to: string, done: Done): void {
    this.#run('rename', from, done, () => {
      const stored = this.files.get(from);
      if (!stored) throw failure('ENOENT');
      this.files.delete(from);
      stored.path = to;
      this.files.set(to, stored);
    });
  }

  remove(path: string, done: Done): void {
    this.#run('remove', path, done, () => {
      this.files.delete(path);
    });
  }

  defer(run: () => void): void {
    setImmediate(run);
  }

  #run<T>(operation: string, path: string, done: (error?: Error, value?: T) => void, run: () => T): void {
    this.defer(() => {
      const fault = this.onOperation?.(operation, path);
      if (fault) return done(failure(fault.code));
      let value: T;
      try {
        value = run();
      } catch (error) {
        return done(error as Error);
      }
      done(undefined, value);
    });
  }
}

class MemoryFile implements FsFile {
  readonly #fs: MemoryFs;
  readonly #stored: Stored;

  constructor(fs: MemoryFs, stored: Stored) {
    this.#fs = fs;
    this.#stored = stored;
  }

  read(target: Uint8Array, position: number, done: DoneWith<number>): void {
    this.#fs.defer(() => done(undefined, this.#stored.bytes.copy(target, 0, position)));
  }

  write(bytes: Uint8Array, position: number, done: Done): void {
    const copy = Buffer.from(bytes);
    this.#fs.defer(() => {
      this.#fs.writes++;
      const fault = this.#fs.onWrite?.(this.#stored.path, position, copy.length);
      const kept = fault ? copy.subarray(0, fault.written ?? 0) : copy;
      const end = position + kept.length;
      if (kept.length > 0 && end > this.#stored.bytes.length) {
        this.#stored.bytes = Buffer.concat([
          this.#stored.bytes,
          Buffer.alloc(end - this.#stored.bytes.length),
        ]);
      }
      this.#stored.bytes.set(kept, position);
      if (fault) done(failure(fault.code));
      else done();
    });
  }

  sync(done: Done): void {
    this.#fs.defer(() => done());
  }

  size(done: DoneWith<number>): void {
    this.#fs.defer(() => done(undefined, this.#stored.bytes.length));
  }

  close(done: Done): void {
    this.#fs.defer(() => done());
  }
}
