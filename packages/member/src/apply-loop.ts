import { assert } from '@muster/base';
import type { KvError } from '@muster/contract';
import {
  type ApplyOutcome,
  type Command,
  decodeCommand,
  type Engine,
  type Event,
  type StateMachine,
} from '@muster/kv';
import {
  type ConfChange,
  type ConfState,
  decodeConfChange,
  type Entry,
  type SnapshotMeta,
} from '@muster/raft';
import { encodeRaftMeta, RAFT_META_KEY } from './raft-meta.ts';

type Applied = {
  readonly command: Command;
  readonly sequence: number;
  readonly outcome: ApplyOutcome;
};

/** What the apply loop tells its member, after the unit is sealed and in the order of the log. */
type ApplyListener = {
  /** A change that takes place: returns the configuration in force from now on. Called before the unit is sealed. */
  readonly onConfig: (change: ConfChange) => ConfState;
  /** The first entry of a term later than any applied before. */
  readonly onNewTerm: (term: number) => void;
  readonly onRevision: (revision: number, events: readonly Event[]) => void;
  /** `sequence` is of this member's own requests; 0 for others'. */
  readonly onCommand: (command: Command, outcome: ApplyOutcome, sequence: number) => void;
  /** Users, roles or what they may do changed; after the events before the change and before any that follow. */
  readonly onAuthChange: () => void;
  readonly onApplied: (index: number) => void;
};

/**
 * Applies committed entries in order, a bounded batch at a time, each batch one unit of the engine together with the
 * index it reaches. The queue is bounded by what raft hands out and by refusing proposals while it is long.
 */
export class ApplyLoop {
  readonly #engine: Engine;
  readonly #self: bigint;
  readonly #batchMax: number;
  readonly #listener: ApplyListener;
  #machine: StateMachine;
  #meta: SnapshotMeta;
  #queue: Entry[] = [];
  #head = 0;

  constructor(options: {
    readonly engine: Engine;
    readonly machine: StateMachine;
    readonly self: bigint;
    readonly meta: SnapshotMeta;
    readonly batchMax: number;
    readonly listener: ApplyListener;
  }) {
    this.#engine = options.engine;
    this.#machine = options.machine;
    this.#self = options.self;
    this.#meta = options.meta;
    this.#batchMax = options.batchMax;
    this.#listener = options.listener;
  }

  get applied(): number {
    return this.#meta.index;
  }

  get meta(): SnapshotMeta {
    return this.#meta;
  }

  get queued(): number {
    return this.#queue.length - this.#head;
  }

  push(entries: readonly Entry[]): void {
    for (const entry of entries) this.#queue.push(entry);
  }

  /** A snapshot took the place of everything. */
  restart(machine: StateMachine, meta: SnapshotMeta): void {
    this.#machine = machine;
    this.#meta = meta;
    this.#queue = [];
    this.#head = 0;
  }

  /** Applies one batch; true when there is more. */
  run(): boolean {
    const end = Math.min(this.#queue.length, this.#head + this.#batchMax);
    if (this.#head === end) return false;
    const done: Applied[] = [];
    const termBefore = this.#meta.term;
    const { auth } = this.#machine;
    const authBefore = auth.revision;
    let { index, term, confState } = this.#meta;
    // A change of rights ends the batch: watches are judged by it before they get what follows.
    for (; this.#head < end && auth.revision === authBefore; this.#head++) {
      const entry = this.#queue[this.#head] as Entry;
      assert(entry.index === index + 1, () => `applying entry ${entry.index} after ${index}`);
      index = entry.index;
      term = entry.term;
      if (entry.type === 'config') confState = this.#configure(entry, confState, done);
      else if (entry.data.length > 0) done.push(this.#apply(entry.data, index));
    }
    this.#trim();
    this.#meta = { index, term, confState };
    this.#engine.put('meta', RAFT_META_KEY, encodeRaftMeta(this.#meta));
    this.#machine.flushMeta();
    this.#engine.commit(index);
    this.#report(done, termBefore);
    if (auth.revision !== authBefore) this.#listener.onAuthChange();
    this.#listener.onApplied(index);
    return this.#head < this.#queue.length;
  }

  /**
   * The members' table decides whether a change takes place, on every member alike; raft's configuration follows it in
   * the same unit. Without a context there is nothing to decide (a joint configuration is left).
   */
  #configure(entry: Entry, before: ConfState, done: Applied[]): ConfState {
    const change = decodeConfChange(entry.data);
    if (change.context.length > 0) {
      const applied = this.#apply(change.context, entry.index);
      done.push(applied);
      if (outcomeError(applied.outcome)) return before;
    }
    return this.#listener.onConfig(change);
  }

  #apply(data: Uint8Array, index: number): Applied {
    const { requestId, command, origin } = decodeCommand(data);
    const sequence = requestId.member === this.#self ? requestId.sequence : 0;
    return { command, sequence, outcome: this.#machine.apply(command, origin, index) };
  }

  #report(done: readonly Applied[], termBefore: number): void {
    for (const { outcome } of done) {
      if (outcome.events.length > 0) this.#listener.onRevision(outcome.revision, outcome.events);
    }
    for (const { command, outcome, sequence } of done) this.#listener.onCommand(command, outcome, sequence);
    if (this.#meta.term > termBefore) this.#listener.onNewTerm(this.#meta.term);
  }

  #trim(): void {
    if (this.#head < 4096 && this.#head < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}

/** The error of an outcome, or `undefined`. */
export function outcomeError(outcome: ApplyOutcome): KvError | undefined {
  return 'error' in outcome ? outcome.error : undefined;
}
