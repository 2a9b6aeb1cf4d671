import type { Clock } from '@muster/base';
import type { ApplyOutcome, Command } from '@muster/kv';
import type { MemberLog } from './member-log.ts';

/** Durations and sizes that are told one by one, for histograms. */
export type Observation = 'leaseTtlSeconds' | 'compactionMs' | 'compactionPauseMs';

/** A heartbeat later than this many intervals was not sent in time, as etcd counts. */
const LATE_INTERVALS = 2;

/** What a member counts of itself for those who watch over it. */
export class Tallies {
  readonly counts = {
    leaderChanges: 0,
    proposalsCommitted: 0,
    proposalsApplied: 0,
    slowApplies: 0,
    lateHeartbeats: 0,
    learnersPromoted: 0,
  };
  readonly #clock: Clock;
  readonly #log: MemberLog;
  readonly #slowApplyMs: number;
  readonly #heartbeatMs: number;
  readonly #observe: (what: Observation, value: number) => void;
  #compactingSinceMs: number | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly log: MemberLog;
    readonly slowApplyMs?: number;
    readonly heartbeatMs: number;
    readonly observe?: (what: Observation, value: number) => void;
  }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#slowApplyMs = options.slowApplyMs ?? Number.POSITIVE_INFINITY;
    this.#heartbeatMs = options.heartbeatMs;
    this.#observe = options.observe ?? (() => {});
  }

  /** Runs one batch of entries. */
  applying<T>(run: () => T): T {
    const startedMs = this.#clock.nowMs();
    const result = run();
    const tookMs = this.#clock.nowMs() - startedMs;
    if (tookMs > this.#slowApplyMs) {
      this.counts.slowApplies++;
      const fields = { tookMs: Math.round(tookMs), expectedMs: this.#slowApplyMs };
      this.#log('warn', 'applying took too long', fields);
    }
    return result;
  }

  /** Runs one slice of a compaction, which returns whether it was the last. */
  compacting(step: () => boolean): boolean {
    const startedMs = this.#clock.nowMs();
    this.#compactingSinceMs ??= startedMs;
    const isLast = step();
    const nowMs = this.#clock.nowMs();
    this.#observe('compactionPauseMs', nowMs - startedMs);
    if (isLast) {
      this.#observe('compactionMs', nowMs - this.#compactingSinceMs);
      this.#compactingSinceMs = undefined;
    }
    return isLast;
  }

  /** `isOwn` is true for a command that came in through this member. */
  onApplied(command: Command, outcome: ApplyOutcome, isOwn: boolean): void {
    this.counts.proposalsApplied++;
    if (!('result' in outcome)) return;
    if (command.type === 'leaseGrant') this.#observe('leaseTtlSeconds', command.ttlSeconds);
    else if (command.type === 'memberPromote' && isOwn) this.counts.learnersPromoted++;
  }

  /** A leader sends its heartbeats when it ticks. */
  onTick(sinceLastMs: number, isLeader: boolean): void {
    if (isLeader && sinceLastMs > LATE_INTERVALS * this.#heartbeatMs) this.counts.lateHeartbeats++;
  }
}
