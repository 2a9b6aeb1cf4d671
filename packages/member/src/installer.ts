import { assert } from '@muster/base';
import type { Ready, SnapshotMeta } from '@muster/raft';
import type { MemberLog } from './member-log.ts';
import type { Persister } from './persister.ts';
import type { SnapshotStore } from './ports.ts';

/** Images that wait for raft's word. It wants the newest that it was told of; a few more may be late ones. */
const RECEIVED_MAX = 4;

/**
 * Puts received snapshots in place of the whole state, in an order that a crash may cut anywhere: first what is on
 * its way to the log, then the engine, then the log, which starts over. A restart between the last two finds the engine
 * ahead of the log (`openRaftState`).
 */
export class Installer {
  readonly #store: SnapshotStore;
  readonly #persister: Persister;
  readonly #log: MemberLog;
  readonly #onReplaced: (meta: SnapshotMeta) => void;
  readonly #onFatal: (error: Error) => void;
  readonly #keep: number;
  /** Names by index, oldest first. Another may come in while one is being installed. */
  readonly #received = new Map<number, string>();
  receivedTotal = 0;
  #installing = false;
  #onIdle: (() => void)[] = [];

  constructor(options: {
    readonly store: SnapshotStore;
    readonly persister: Persister;
    readonly log: MemberLog;
    readonly keep: number;
    /** The engine holds the new state from now on; the log does not start behind it yet. */
    readonly onReplaced: (meta: SnapshotMeta) => void;
    readonly onFatal: (error: Error) => void;
  }) {
    this.#store = options.store;
    this.#persister = options.persister;
    this.#log = options.log;
    this.#keep = options.keep;
    this.#onReplaced = options.onReplaced;
    this.#onFatal = options.onFatal;
  }

  /** Until it is over no Ready may be taken: the engine and the log do not belong together. */
  get busy(): boolean {
    return this.#installing;
  }

  /** An image waits in the store under `name`; raft is told of it next and may want it installed. */
  onReceived(index: number, name: string): void {
    this.receivedTotal++;
    this.#received.delete(index);
    this.#received.set(index, name);
    for (const oldest of this.#received.keys()) {
      if (this.#received.size <= RECEIVED_MAX) break;
      this.#received.delete(oldest);
    }
  }

  /** The persister reports the Ready when all is in place and durable; `finish` must follow. */
  install(ready: Ready): void {
    const meta = ready.snapshot;
    assert(meta, 'only a Ready with a snapshot is installed');
    const name = this.#received.get(meta.index);
    assert(name !== undefined, () => `raft wants snapshot ${meta.index} installed, which was not received`);
    this.#installing = true;
    this.#log('info', 'installing a snapshot', { index: meta.index, name });
    this.#persister.whenIdle(() =>
      this.#store.install(name, (error) => {
        if (error) return this.#onFatal(error);
        this.#onReplaced(meta);
        this.#persister.reset(ready, meta.index, meta.term);
      }),
    );
  }

  finish(meta: SnapshotMeta): void {
    this.#installing = false;
    for (const index of [...this.#received.keys()]) if (index <= meta.index) this.#received.delete(index);
    this.#store.prune(this.#keep);
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const run of waiting) run();
  }

  /** Runs `done` when nothing is being installed. */
  whenIdle(done: () => void): void {
    if (this.#installing) this.#onIdle.push(done);
    else done();
  }
}
