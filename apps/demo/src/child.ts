import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

type ChildOptions = {
  readonly name: string;
  /** Arguments to Node: the file and its flags. */
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logDir: string;
  /** The line of its log that says that it is up. */
  readonly isReady: (line: string) => boolean;
  /** Called for lines that a person at the terminal should see. */
  readonly onNotable: (line: string) => void;
  /** Called when it ends without having been asked to. */
  readonly onDeath: (how: string) => void;
};

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;
const LINES_REMEMBERED = 20;

/** A child process whose output goes to its log file, and whose start and end can be waited for. */
export class Child {
  readonly name: string;
  readonly logFile: string;
  readonly ready: Promise<void>;
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  readonly #options: ChildOptions;
  readonly #log: WriteStream;
  readonly #lastLines: string[] = [];
  #up = false;
  #stopping = false;
  #over = false;

  constructor(options: ChildOptions) {
    this.name = options.name;
    this.#options = options;
    this.logFile = join(options.logDir, `${options.name}.log`);
    this.#log = createWriteStream(this.logFile, { flags: 'a' });
    // A group of its own: Ctrl-C at the terminal must reach only the one who stops the others in order.
    this.#process = spawn(process.execPath, [...options.args], {
      cwd: options.cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const kill = () => this.#process.kill('SIGKILL');
    process.once('exit', kill);
    this.ended = new Promise((resolve) => {
      this.#process.once('error', (error) => resolve(error.message));
      this.#process.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    }).then((how) => {
      process.off('exit', kill);
      this.#over = true;
      this.#log.end();
      if (!this.#stopping && this.#up) options.onDeath(String(how));
      return String(how);
    });
    this.ready = this.#whenReady();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get alive(): boolean {
    return !this.#over;
  }

  /** Asks it to end, and sees to it that it does. Resolves with how it ended. */
  async stop(): Promise<string> {
    this.#stopping = true;
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const how = await this.ended;
    clearTimeout(timer);
    return how;
  }

  /** Ends it at once. */
  kill(): void {
    this.#stopping = true;
    this.#process.kill('SIGKILL');
  }

  #whenReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        const last = this.#lastLines.map((line) => `  ${line}`).join('\n');
        reject(new Error(`${this.name} ${why}. The end of ${this.logFile}:\n${last}`));
      };
      const timer = setTimeout(
        () => fail(`was not ready within ${READY_TIMEOUT_MS / 1000} s`),
        READY_TIMEOUT_MS,
      );
      void this.ended.then((how) => {
        clearTimeout(timer);
        if (!this.#up) fail(`ended before it was ready (${how})`);
      });
      const onLine = (line: string) => {
        this.#keep(line);
        if (this.#up || !this.#options.isReady(line)) return;
        this.#up = true;
        clearTimeout(timer);
        resolve();
      };
      for (const stream of [this.#process.stdout, this.#process.stderr]) {
        if (stream) createInterface({ input: stream }).on('line', onLine);
      }
    });
  }

  #keep(line: string): void {
    if (!this.#log.writableEnded) this.#log.write(`${line}\n`);
    this.#lastLines.push(line);
    if (this.#lastLines.length > LINES_REMEMBERED) this.#lastLines.shift();
    if (this.#up && !this.#stopping) this.#options.onNotable(line);
  }
}
