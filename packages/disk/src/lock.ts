/**
 * An exclusive lock on a directory that the operating system holds for this process: it ends with the process however
 * that ends, so there is never a stale one to clean up.
 *
 * Node has no flock(2). On macOS and the BSDs, open(2) takes such a lock itself. On Linux the `flock` program of
 * util-linux (or busybox) is handed our open file: the lock belongs to the open file, so it stays when the program has
 * ended. Where that program is missing, a socket in Linux's abstract namespace named after the file does the same
 * among the processes of one network namespace; on Windows, a named pipe.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createServer, type Server } from 'node:net';

export class DataDirLocked extends Error {
  override readonly name = 'DataDirLocked';
}

export type FileLock = { release(): Promise<void> };

const { O_CREAT, O_RDWR } = fs.constants;
const O_NONBLOCK_BSD = 0x4;
const O_EXLOCK_BSD = 0x20;
const BSD_PLATFORMS: readonly string[] = ['darwin', 'freebsd', 'openbsd', 'netbsd'];
/** `flock -n` says so when another process has the lock. */
const FLOCK_CONFLICT_EXIT = 1;

/** Takes the lock at `path` and writes this process's id there, or fails with `DataDirLocked` naming the holder. */
export async function lockFile(path: string): Promise<FileLock> {
  const fd = openForLock(path);
  let server: Server | undefined;
  try {
    if (process.platform === 'linux') {
      const outcome = await flockByProgram(fd);
      if (outcome === 'held') throw locked(path);
      if (outcome === 'noProgram') server = await lockBySocket(path, `\0muster-${nameOf(fd)}`);
    } else if (process.platform === 'win32') {
      server = await lockBySocket(path, `\\\\.\\pipe\\muster-${nameOf(fd)}`);
    }
    fs.ftruncateSync(fd, 0);
    fs.writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  return {
    async release() {
      fs.ftruncateSync(fd, 0);
      fs.closeSync(fd);
      const listening = server;
      if (listening) await new Promise<void>((resolve) => listening.close(() => resolve()));
    },
  };
}

function openForLock(path: string): number {
  const bsd = BSD_PLATFORMS.includes(process.platform);
  try {
    return fs.openSync(path, O_RDWR | O_CREAT | (bsd ? O_EXLOCK_BSD | O_NONBLOCK_BSD : 0), 0o600);
  } catch (error) {
    if (bsd && (error as NodeJS.ErrnoException).code === 'EAGAIN') throw locked(path);
    throw error;
  }
}

function locked(path: string): DataDirLocked {
  const pid = holder(path);
  const by = pid ? `process ${pid}` : 'another process';
  return new DataDirLocked(
    `${by} uses this data directory (lock ${path}): stop it, or give this member a data directory of its own`,
  );
}

function holder(path: string): string | undefined {
  const text = fs.readFileSync(path, 'latin1').trim();
  return /^\d+$/.test(text) ? text : undefined;
}

/** The same file under any path has the same name. */
function nameOf(fd: number): string {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true });
  return createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32);
}

function flockByProgram(fd: number): Promise<'taken' | 'held' | 'noProgram'> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['-n', '-x', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve('noProgram');
      else reject(error);
    });
    child.once('exit', (code, signal) => {
      if (code === 0) resolve('taken');
      else if (code === FLOCK_CONFLICT_EXIT) resolve('held');
      else reject(new Error(`flock ended with ${signal ?? `exit code ${code}`}`));
    });
  });
}

function lockBySocket(path: string, name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? locked(path) : error),
    );
    server.listen(name, () => resolve(server));
  });
}
