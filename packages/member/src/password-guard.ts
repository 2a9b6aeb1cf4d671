import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import type { PasswordHasher } from './auth-ports.ts';

/** Hashes computed at a time. They share few threads with the syncs of the log. */
const AT_ONCE = 2;
/** Checks and hashes that wait or run: in all, from one source, of one name from one source, of one name from strangers. */
export const WAITING_MAX = 64;
export const WAITING_PER_SOURCE_MAX = 16;
export const WAITING_PER_NAME_MAX = 4;
const WAITING_STRANGERS_MAX = 32;
/** Places kept for those who were right before. */
const WAITING_KNOWN_MAX = 16;
/** Wrong passwords that cost nothing, of one name from one source and from all strangers; each further one costs twice. */
const FREE_FAILURES = 3;
const FREE_STRANGERS_FAILURES = 30;
const DELAY_MS = 50;
const DELAY_MS_MAX = 1000;
/** Names, with their sources, whose failures or successes are remembered; the oldest is forgotten first. */
const RECORDS_MAX = 4096;

type Attempts = { failures: number; waiting: number; nextMs: number };
/** Where an attempt stands in line. */
type Line = {
  readonly of: Map<string, Attempts>;
  readonly key: string;
  /** Failures that cost nothing. */
  readonly free: number;
  /** As many may wait. */
  readonly most: number;
};
type Caller = { readonly source?: string | undefined; readonly isKnown?: boolean };
type FoundLine = Line & { readonly attempts: Attempts };

/**
 * Checks passwords at a bounded pace: guesses at one name come slower and slower, and however many names are tried, few
 * hashes run at once. A name that nobody has costs as much as one that somebody has. Guesses count by where they come
 * from, so that nobody is kept out by those of others; many sources together are slowed too, but not a source from which
 * the name's password was once right.
 */
export class PasswordGuard {
  readonly #clock: Clock;
  readonly #hasher: PasswordHasher;
  /** By name and source. */
  readonly #own = new Map<string, Attempts>();
  /** By name: of all sources that are not known. */
  readonly #strangers = new Map<string, Attempts>();
  /** Names and sources that were right. */
  readonly #known = new Set<string>();
  readonly #waitingBySource = new Map<string, number>();
  readonly #turns: (() => void)[] = [];
  #running = 0;
  #waiting = 0;
  #nobodys: Promise<string> | undefined;

  constructor(clock: Clock, hasher: PasswordHasher) {
    this.#clock = clock;
    this.#hasher = hasher;
  }

  hash(password: string): Promise<string> {
    return this.#counted({}, () => this.#inTurn(() => this.#hasher.hash(password)));
  }

  /**
   * `hashed` is absent of a name that nobody has: then the answer is always no. `source` is the client's address, where
   * that is known.
   */
  async check(name: string, password: string, hashed: string | undefined, source?: string): Promise<boolean> {
    const both = `${network(source ?? '')} ${name}`;
    const lines: Line[] = [{ of: this.#own, key: both, free: FREE_FAILURES, most: WAITING_PER_NAME_MAX }];
    const isKnown = this.#known.has(both);
    if (!isKnown) {
      const { free, most } = { free: FREE_STRANGERS_FAILURES, most: WAITING_STRANGERS_MAX };
      lines.push({ of: this.#strangers, key: name, free, most });
    }
    const found = lines.map((line) => ({ ...line, attempts: attemptsOf(line) }));
    if (found.some(({ attempts, most }) => attempts.waiting >= most)) throw new KvError('TOO_MANY_REQUESTS');
    return this.#counted({ source, isKnown }, async () => {
      for (const { attempts } of found) attempts.waiting++;
      try {
        for (const { attempts, free } of found) await this.#pause(attempts, free);
        const right = await this.#inTurn(() => this.#verify(password, hashed), isKnown);
        for (const line of found) this.#note(line, right && line.of === this.#own, right);
        if (right) remember(this.#known, both);
        return right;
      } finally {
        for (const { of, key, attempts } of found) {
          attempts.waiting--;
          if (attempts.waiting === 0 && attempts.failures === 0) of.delete(key);
        }
      }
    });
  }

  async #verify(password: string, hashed: string | undefined): Promise<boolean> {
    this.#nobodys ??= this.#hasher.hash('');
    const nobodys = await this.#nobodys;
    const same = await this.#hasher.verify(password, hashed ?? nobodys);
    return same && hashed !== undefined;
  }

  /** A right password clears what its own source failed; what strangers failed stays. */
  #note({ of, key, free, attempts }: FoundLine, clears: boolean, right: boolean): void {
    if (!right) attempts.failures++;
    if (clears) attempts.failures = 0;
    const delay = delayMs(attempts.failures, free);
    if (!right) attempts.nextMs = Math.max(attempts.nextMs, this.#clock.nowMs() + delay);
    if (clears) attempts.nextMs = 0;
    of.delete(key);
    of.set(key, attempts);
  }

  #pause(attempts: Attempts, free: number): Promise<void> | undefined {
    const now = this.#clock.nowMs();
    const startMs = Math.max(now, attempts.nextMs);
    attempts.nextMs = startMs + delayMs(attempts.failures, free);
    if (startMs === now) return undefined;
    return new Promise((resolve) => void this.#clock.schedule(startMs - now, resolve));
  }

  async #counted<T>({ source, isKnown }: Caller, run: () => Promise<T>): Promise<T> {
    const most = isKnown ? WAITING_MAX + WAITING_KNOWN_MAX : WAITING_MAX;
    const from = source === undefined ? undefined : network(source);
    const already = from === undefined ? 0 : (this.#waitingBySource.get(from) ?? 0);
    if (this.#waiting >= most || already >= WAITING_PER_SOURCE_MAX) {
      throw new KvError('TOO_MANY_REQUESTS');
    }
    this.#waiting++;
    if (from !== undefined) this.#waitingBySource.set(from, already + 1);
    try {
      return await run();
    } finally {
      this.#waiting--;
      if (from !== undefined) this.#leave(from);
    }
  }

  #leave(from: string): void {
    const left = (this.#waitingBySource.get(from) ?? 1) - 1;
    if (left === 0) this.#waitingBySource.delete(from);
    else this.#waitingBySource.set(from, left);
  }

  async #inTurn<T>(run: () => Promise<T>, first = false): Promise<T> {
    if (this.#running >= AT_ONCE) {
      await new Promise<void>((resolve) => {
        if (first) this.#turns.unshift(resolve);
        else this.#turns.push(resolve);
      });
    } else this.#running++;
    try {
      return await run();
    } finally {
      // The place goes to whoever waited longest, those who were right before first.
      const next = this.#turns.shift();
      if (next) next();
      else this.#running--;
    }
  }
}

/** The record, made where there is none; the oldest without anybody waiting goes for it. */
function attemptsOf({ of, key }: Line): Attempts {
  const known = of.get(key);
  if (known !== undefined) return known;
  const fresh: Attempts = { failures: 0, waiting: 0, nextMs: 0 };
  of.set(key, fresh);
  for (const [oldest, { waiting }] of of) {
    if (of.size <= RECORDS_MAX) break;
    if (waiting === 0 && oldest !== key) of.delete(oldest);
  }
  return fresh;
}

function remember(known: Set<string>, key: string): void {
  known.delete(key);
  known.add(key);
  for (const oldest of known) {
    if (known.size <= RECORDS_MAX) break;
    known.delete(oldest);
  }
}

/** Whoever has an IPv6 address has 2^64 of them. */
function network(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  const all = [...groups, ...Array<string>(missing).fill('0'), ...(tail ? tail.split(':') : [])];
  return all.slice(0, 4).join(':');
}

function delayMs(failures: number, free: number): number {
  if (failures < free) return 0;
  return Math.min(DELAY_MS * 2 ** (failures - free), DELAY_MS_MAX);
}
