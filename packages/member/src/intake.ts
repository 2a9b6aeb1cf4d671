import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Command, Origin } from '@muster/kv';
import type { RaftNode } from '@muster/raft';
import { outcomeError } from './apply-loop.ts';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { LeaderLink } from './leader-link.ts';
import { confChangeSteps } from './membership.ts';
import type { Proposer, WriteDone } from './proposer.ts';
import type { ReadBarrier } from './read-barrier.ts';

type Done = (error: KvError | undefined) => void;

/** Where requests come in: each is refused at once, or queued with a deadline for the next turn. */
export class Intake {
  readonly #raft: RaftNode;
  readonly #clock: Clock;
  readonly #proposer: Proposer;
  readonly #reads: ReadBarrier;
  readonly #link: LeaderLink;
  readonly #timeoutMs: number;
  readonly #refusal: (isWrite: boolean) => KvError | undefined;
  readonly #wake: () => void;

  constructor(options: {
    readonly raft: RaftNode;
    readonly clock: Clock;
    readonly proposer: Proposer;
    readonly reads: ReadBarrier;
    readonly link: LeaderLink;
    /** No request waits longer, whatever it asks for. */
    readonly timeoutMs: number;
    readonly refusal: (isWrite: boolean) => KvError | undefined;
    readonly wake: () => void;
  }) {
    this.#raft = options.raft;
    this.#clock = options.clock;
    this.#proposer = options.proposer;
    this.#reads = options.reads;
    this.#link = options.link;
    this.#timeoutMs = options.timeoutMs;
    this.#refusal = options.refusal;
    this.#wake = options.wake;
  }

  submit(command: Command, timeoutMs: number | undefined, done: WriteDone, origin: Origin): void {
    const steps = confChangeSteps(command);
    this.#write(command, timeoutMs, done, steps ? { steps, origin } : { origin });
  }

  read(timeoutMs: number | undefined, done: Done): void {
    const refusal = this.#refusal(false);
    if (refusal) return done(refusal);
    const added = this.#reads.add({ deadlineMs: this.#deadlineMs(timeoutMs), done });
    if (!added) return done(new KvError('TOO_MANY_REQUESTS'));
    this.#wake();
  }

  callLeader(
    call: LeaderCall,
    timeoutMs: number | undefined,
    done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void,
  ): void {
    const refusal = this.#refusal(false);
    if (refusal) return done(undefined, refusal);
    this.#link.call(call, this.#deadlineMs(timeoutMs), done);
  }

  /** A command of the member's own. */
  propose(command: Command, done: Done): void {
    this.#write(command, undefined, doneOf(done));
  }

  /** What follows from this member's leading: it never reaches the log through another leader. */
  proposeAsLeader(command: Command, done: Done): void {
    this.#write(command, undefined, doneOf(done), { onlyInTerm: this.#raft.term });
  }

  #write(
    command: Command,
    timeoutMs: number | undefined,
    done: WriteDone,
    special?: Parameters<Proposer['submit']>[4],
  ): void {
    const limited = this.#limited(timeoutMs);
    if (this.#proposer.submit(command, limited, this.#refusal(true), done, special)) this.#wake();
  }

  #limited(askedMs: number | undefined): number {
    return Math.min(askedMs ?? this.#timeoutMs, this.#timeoutMs);
  }

  #deadlineMs(askedMs: number | undefined): number {
    return this.#clock.nowMs() + this.#limited(askedMs);
  }
}

function doneOf(done: Done): WriteDone {
  return (outcome, error) => done(error ?? (outcome && outcomeError(outcome)));
}
