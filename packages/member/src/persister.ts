import { assert } from '@muster/base';
import type { HardState, Ready } from '@muster/raft';
import type { Wal, WalBatch, WalError } from './ports.ts';

/** Acknowledgements kept of what waits for room on the disk; older ones are lost, as messages may be. */
const STALLED_MESSAGES_MAX = 256;

type Job = { readonly ready: Ready; readonly batch: WalBatch; readonly sync: boolean };

/**
 * Takes Readys to the log in order and acknowledges them in order. A commit index alone is not worth a write: it is
 * remembered and rides with the next one, and a restart takes it from the applied index (Raft keeps it volatile).
 *
 * A full disk is waited out: what could not be written stays here, in order, and is tried again by `retry`.
 */
export class Persister {
  readonly #wal: Wal;
  readonly #onPersisted: (ready: Ready) => void;
  readonly #onFatal: (error: WalError) => void;
  #hardState: HardState;
  #outstanding = 0;
  #stalled: Job[] = [];
  #stalledBy: WalError | undefined;
  #onIdle: (() => void) | undefined;

  constructor(options: {
    readonly wal: Wal;
    readonly hardState: HardState;
    /** Runs in order of the Readys' numbers, sometimes from inside `persist`. */
    readonly onPersisted: (ready: Ready) => void;
    readonly onFatal: (error: WalError) => void;
  }) {
    this.#wal = options.wal;
    this.#hardState = options.hardState;
    this.#onPersisted = options.onPersisted;
    this.#onFatal = options.onFatal;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  /** Why writes cannot be made durable at the moment (a full disk), or `undefined`. */
  get stalledBy(): WalError | undefined {
    return this.#stalledBy;
  }

  persist(ready: Ready): void {
    assert(!ready.snapshot, 'a Ready with a snapshot is installed, not appended');
    if (ready.hardState) this.#hardState = ready.hardState;
    const sync = ready.mustPersist || ready.entries.length > 0;
    if (!sync && this.#outstanding === 0 && !this.#stalledBy) {
      this.#onPersisted(ready);
      return;
    }
    const batch = sync ? { hardState: this.#hardState, entries: ready.entries } : { entries: [] };
    const job: Job = { ready, batch, sync };
    if (this.#stalledBy) this.#keep(job);
    else this.#append(job);
  }

  /** Readys without anything to write go on coming for as long as the disk is full: they become one. */
  #keep(job: Job): void {
    const last = this.#stalled.at(-1);
    if (job.sync || !last || last.sync) {
      this.#stalled.push(job);
      return;
    }
    const messages = [...last.ready.messagesAfterPersist, ...job.ready.messagesAfterPersist];
    const messagesAfterPersist = messages.slice(-STALLED_MESSAGES_MAX);
    this.#stalled[this.#stalled.length - 1] = { ...job, ready: { ...job.ready, messagesAfterPersist } };
  }

  /** Readys that wait for room on the disk. */
  get stalled(): number {
    return this.#stalled.length;
  }

  /** Tries again what a full disk refused. */
  retry(): void {
    if (!this.#stalledBy || this.#outstanding > 0) return;
    const jobs = this.#stalled;
    this.#stalled = [];
    this.#stalledBy = undefined;
    for (const job of jobs) this.#append(job);
  }

  /** Runs `done` once nothing is on its way to the log. */
  whenIdle(done: () => void): void {
    if (this.#outstanding === 0 && !this.#stalledBy) done();
    else this.#onIdle = done;
  }

  /** Starts the log over behind an installed snapshot. */
  reset(ready: Ready, index: number, term: number): void {
    if (ready.hardState) this.#hardState = ready.hardState;
    this.#hardState = { ...this.#hardState, commit: Math.max(this.#hardState.commit, index) };
    this.#outstanding++;
    this.#wal.reset(index, term, this.#hardState, (error) => {
      this.#outstanding--;
      if (error) this.#onFatal(error);
      else this.#onPersisted(ready);
    });
  }

  #append(job: Job): void {
    this.#outstanding++;
    this.#wal.append(job.batch, job.sync, (error) => {
      this.#outstanding--;
      if (!error) {
        assert(!this.#stalledBy, 'the log wrote a batch although one before it failed');
        this.#onPersisted(job.ready);
        this.#settleIdle();
      } else if (error.retryable) {
        this.#stalledBy = error;
        this.#stalled.push(job);
      } else {
        this.#onFatal(error);
      }
    });
  }

  #settleIdle(): void {
    if (this.#outstanding > 0 || this.#stalledBy) return;
    const done = this.#onIdle;
    this.#onIdle = undefined;
    done?.();
  }
}
