import type { Clock, Timer } from '@muster/base';
import type { AutoCompaction } from './config.ts';

const HOUR_MS = 3_600_000;
const REVISION_PERIOD_MS = 5 * 60_000;
/** Samples in one interval of the periodic mode. */
const SAMPLES = 10;

type CompactionTarget = {
  isLeader(): boolean;
  /** The newest revision. */
  revision(): number;
  /** Compacts to a revision; what is already compacted is no error. */
  compact(revision: number): Promise<void>;
};

/**
 * etcd's auto compaction, on the leader. Periodic: the revision is sampled ten times an interval of min(retention,
 * 1 h), and every interval the one seen a retention ago is compacted to. Revision: every five minutes all but the
 * newest so many.
 */
export class AutoCompactor {
  readonly #clock: Clock;
  readonly #target: CompactionTarget;
  readonly #onError: (error: Error) => void;
  readonly #samples: number[] = [];
  #timer: Timer | undefined;
  #sinceCompaction = 0;
  #last = 0;

  constructor(
    policy: AutoCompaction,
    clock: Clock,
    target: CompactionTarget,
    onError: (error: Error) => void,
  ) {
    this.#clock = clock;
    this.#target = target;
    this.#onError = onError;
    if (policy.mode === 'revision') {
      const keep = policy.retentionRevisions;
      this.#every(REVISION_PERIOD_MS, () => this.#compact(this.#target.revision() - keep));
    } else if (policy.mode === 'periodic') {
      const intervalMs = Math.min(policy.retentionMs, HOUR_MS) / SAMPLES;
      const needed = Math.ceil(policy.retentionMs / intervalMs);
      this.#every(intervalMs, () => this.#sample(needed));
    }
  }

  stop(): void {
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#timer = undefined;
  }

  #every(periodMs: number, run: () => void): void {
    this.#timer = this.#clock.schedule(periodMs, () => {
      this.#every(periodMs, run);
      run();
    });
  }

  #sample(needed: number): void {
    this.#samples.push(this.#target.revision());
    this.#sinceCompaction++;
    if (this.#samples.length <= needed) return;
    const seen = this.#samples.shift() as number;
    if (this.#sinceCompaction < SAMPLES) return;
    this.#sinceCompaction = 0;
    this.#compact(seen);
  }

  #compact(revision: number): void {
    if (!this.#target.isLeader() || revision <= this.#last || revision < 1) return;
    this.#target.compact(revision).then(
      () => {
        this.#last = Math.max(this.#last, revision);
      },
      (error: unknown) => this.#onError(error instanceof Error ? error : new Error(String(error))),
    );
  }
}
