import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import type { PasswordHasher } from './auth-ports.ts';

/** Hashes computed at a time. They share few threads with the syncs of the log. */
const AT_ONCE = 2;
/** Checks and hashes that wait or run, in all and for one name. Beyond: "too many requests". */
export const WAITING_MAX = 64;
export const WAITING_PER_NAME_MAX = 4;
/** Wrong passwords of one name that cost nothing, and what each further one costs: twice the one before. */
const FREE_FAILURES = 3;
const DELAY_MS = 50;
const DELAY_MS_MAX = 1000;
/** Names whose failures are remembered; the one that failed longest ago is forgotten first. */
const NAMES_MAX = 4096;

type Attempts = { failures: number; waiting: number; nextMs: number };

/**
 * Checks passwords at a bounded pace: guesses at one name come slower and slower, and however many names are tried, few
 * hashes run at once. A name that nobody has costs as much as one that somebody has.
 */
export class PasswordGuard {
  readonly #clock: Clock;
  readonly #hasher: PasswordHasher;
  readonly #attempts = new Map<string, Attempts>();
  readonly #turns: (() => void)[] = [];
  #running = 0;
  #waiting = 0;
  #nobodys: Promise<string> | undefined;

  constructor(clock: Clock, hasher: PasswordHasher) {
    this.#clock = clock;
    this.#hasher = hasher;
  }

  hash(password: string): Promise<string> {
    return this.#counted(() => this.#inTurn(() => this.#hasher.hash(password)));
  }

  /** `hashed` is absent of a name that nobody has: then the answer is always no. */
  check(name: string, password: string, hashed: string | undefined): Promise<boolean> {
    const attempts = this.#attemptsOf(name);
    if (attempts.waiting >= WAITING_PER_NAME_MAX) return Promise.reject(new KvError('TOO_MANY_REQUESTS'));
    return this.#counted(async () => {
      attempts.waiting++;
      try {
        await this.#pause(attempts);
        const right = await this.#inTurn(() => this.#verify(password, hashed));
        this.#note(name, attempts, right);
        return right;
      } finally {
        attempts.waiting--;
        if (attempts.waiting === 0 && attempts.failures === 0) this.#attempts.delete(name);
      }
    });
  }

  async #verify(password: string, hashed: string | undefined): Promise<boolean> {
    this.#nobodys ??= this.#hasher.hash('');
    const nobodys = await this.#nobodys;
    const same = await this.#hasher.verify(password, hashed ?? nobodys);
    return same && hashed !== undefined;
  }

  #attemptsOf(name: string): Attempts {
    const known = this.#attempts.get(name);
    if (known !== undefined) return known;
    const fresh: Attempts = { failures: 0, waiting: 0, nextMs: 0 };
    this.#attempts.set(name, fresh);
    for (const [oldest, { waiting }] of this.#attempts) {
      if (this.#attempts.size <= NAMES_MAX) break;
      if (waiting === 0 && oldest !== name) this.#attempts.delete(oldest);
    }
    return fresh;
  }

  #note(name: string, attempts: Attempts, right: boolean): void {
    attempts.failures = right ? 0 : attempts.failures + 1;
    attempts.nextMs = Math.max(attempts.nextMs, this.#clock.nowMs() + delayMs(attempts.failures));
    if (right) attempts.nextMs = 0;
    this.#attempts.delete(name);
    this.#attempts.set(name, attempts);
  }

  #pause(attempts: Attempts): Promise<void> | undefined {
    const now = this.#clock.nowMs();
    const startMs = Math.max(now, attempts.nextMs);
    attempts.nextMs = startMs + delayMs(attempts.failures);
    if (startMs === now) return undefined;
    return new Promise((resolve) => void this.#clock.schedule(startMs - now, resolve));
  }

  async #counted<T>(run: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING_MAX) throw new KvError('TOO_MANY_REQUESTS');
    this.#waiting++;
    try {
      return await run();
    } finally {
      this.#waiting--;
    }
  }

  async #inTurn<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#turns.push(resolve));
    else this.#running++;
    try {
      return await run();
    } finally {
      // The place goes to whoever waited longest.
      const next = this.#turns.shift();
      if (next) next();
      else this.#running--;
    }
  }
}

function delayMs(failures: number): number {
  if (failures < FREE_FAILURES) return 0;
  return Math.min(DELAY_MS * 2 ** (failures - FREE_FAILURES), DELAY_MS_MAX);
}
