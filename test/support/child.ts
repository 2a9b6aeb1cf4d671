import { type ChildProcess, spawn } from 'node:child_process';

const OUTPUT_KEPT = 20_000;

/** A child process of a test: its output is kept (the newest part), and it is killed with the test process. */
export class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<string>;
  #output = '';

  constructor(command: string, args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv } = {}) {
    this.process = spawn(command, args, {
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
      });
    }
    const kill = () => this.process.kill('SIGKILL');
    process.once('exit', kill);
    this.exited = new Promise((resolve) => {
      this.process.once('error', (error) => resolve(`not started: ${error.message}`));
      this.process.once('exit', (code, signal) => {
        process.off('exit', kill);
        resolve(signal ?? `exit code ${code}`);
      });
    });
  }

  get output(): string {
    return this.#output;
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<string> {
    this.process.kill(signal);
    return this.exited;
  }

  /** Resolves when `probe` does without an error; rejects when the process ends or the time is over. */
  async ready(probe: () => Promise<unknown>, timeoutMs = 15_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    let ended: string | undefined;
    this.exited.then((how) => {
      ended = how;
    });
    for (;;) {
      try {
        await probe();
        return;
      } catch (error) {
        if (ended !== undefined) throw new Error(`the process ended (${ended}):\n${this.#output}`);
        if (performance.now() > deadline) {
          throw new Error(`not ready in ${timeoutMs} ms:\n${this.#output}`, { cause: error });
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}
