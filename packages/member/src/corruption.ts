import type { Timer } from '@muster/base';
import { KvError } from '@muster/contract';
import { type HashKvResult, hashKvOfView } from '@muster/kv';
import type { NodeId } from '@muster/raft';
import { type Answer, deviating } from './deviating.ts';
import { hashed } from './hashing.ts';
import type { Member } from './member.ts';
import type { MemberLog } from './member-log.ts';

/** Of a store that is empty. */
const FIRST_REVISION = 1;
/** How long a member may take to hash its data for another. */
const HASH_TIMEOUT_MS = 60_000;
/** A member that has not come as far is asked again after this, and so many times. */
const BEHIND_RETRY_MS = 200;
const BEHIND_RETRIES = 25;
const PATIENT = { timeoutMs: HASH_TIMEOUT_MS, retries: BEHIND_RETRIES };

export type CorruptionOptions = {
  /** Milliseconds between checks of the current revision, 0 for none: etcd's `corrupt-check-time`. */
  readonly periodicMs: number;
  /** Milliseconds between looks at whether the newest compaction is to be checked, 0 for none. */
  readonly compactionMs: number;
  readonly log: MemberLog;
};

/**
 * Compares what the members hold (reference 8.6). The leader hashes its key space and asks the others for theirs at the
 * same revision; whoever differs from the most is given the alarm CORRUPT, which stops writes. Hashes count only where
 * the compact revision is the same: then they depend on the data alone.
 */
export class CorruptionMonitor {
  readonly #member: Member;
  readonly #options: CorruptionOptions;
  readonly #timers = new Map<string, Timer>();
  #checkedCompaction = 0;
  #stopped = false;

  constructor(member: Member, options: CorruptionOptions) {
    this.#member = member;
    this.#options = options;
  }

  start(): void {
    const { periodicMs, compactionMs } = this.#options;
    if (periodicMs > 0) this.#repeat('periodic', periodicMs, () => this.check(0));
    if (compactionMs > 0) this.#repeat('compaction', compactionMs, () => this.#checkCompaction());
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) this.#member.clock.cancel(timer);
    this.#timers.clear();
  }

  /**
   * Before this member serves: rejects when another one holds other data at the same revision. Members that cannot be
   * asked, that are behind or that have compacted more are passed over, as in etcd.
   */
  async checkInitial(): Promise<void> {
    const own = await this.#hash(0);
    // Nothing was ever written: a new cluster's members start together, and cannot answer each other yet.
    if (own.hashRevision <= FIRST_REVISION) return;
    const timeoutMs = this.#member.requestTimeoutMs;
    const others = await Promise.all(
      this.#others().map((id) => this.#ask(id, own.hashRevision, { timeoutMs, retries: 0 })),
    );
    for (const other of others) {
      if (!other || !isComparable(own, other.result) || other.result.hash === own.hash) continue;
      const { member, result } = other;
      throw new KvError('CORRUPT', {
        detail:
          `found data inconsistency with peers: at revision ${own.hashRevision} member ${this.#member.id.toString(16)} ` +
          `has the hash ${own.hash} and member ${member.toString(16)} ${result.hash}. Expected equal ones: remove this ` +
          'member and add it anew, or restore the cluster from a snapshot',
      });
    }
  }

  /** One comparison at `revision`, 0 for the current one. Does nothing on a member that does not lead. */
  async check(revision: number): Promise<void> {
    const member = this.#member;
    if (!member.isLeader) return;
    await new Promise<void>((resolve, reject) =>
      member.read(undefined, (error) => (error ? reject(error) : resolve())),
    );
    const own: Answer = { member: member.id, result: await this.#hash(revision) };
    const at = own.result.hashRevision;
    const others = await Promise.all(this.#others().map((id) => this.#ask(id, at)));
    const answers = [own, ...others.filter((other) => other !== undefined)];
    const comparable = answers.filter(({ result }) => isComparable(own.result, result));
    for (const id of deviating(comparable, this.#others().length + 1)) await this.#raise(id, at);
  }

  async #checkCompaction(): Promise<void> {
    const { compactRevision } = this.#member.machine;
    if (compactRevision <= this.#checkedCompaction || !this.#member.isLeader) return;
    await this.check(compactRevision);
    this.#checkedCompaction = compactRevision;
  }

  async #raise(memberId: NodeId, revision: number): Promise<void> {
    const { machine } = this.#member;
    const raised = machine.alarms().some((a) => a.memberId === memberId && a.alarm === 'corrupt');
    if (raised || this.#stopped) return;
    this.#options.log('error', 'a member holds other data than the rest: alarm CORRUPT', {
      member: memberId.toString(16),
      revision,
    });
    await new Promise<void>((resolve, reject) =>
      this.#member.submit(
        { type: 'alarm', action: 'activate', memberId, alarm: 'corrupt' },
        undefined,
        (_, error) => (error ? reject(error) : resolve()),
      ),
    );
  }

  #others(): NodeId[] {
    const { machine, id } = this.#member;
    return machine
      .members()
      .filter((member) => member.id !== id)
      .map((member) => member.id);
  }

  #hash(revision: number): Promise<HashKvResult> {
    return hashed(this.#member, (view) => hashKvOfView(view, revision));
  }

  /** `undefined` when it could not be had, which is said in the log. */
  async #ask(to: NodeId, revision: number, patience = PATIENT): Promise<Answer | undefined> {
    for (let round = 0; ; round++) {
      try {
        return { member: to, result: await this.#askOnce(to, revision, patience.timeoutMs) };
      } catch (error) {
        const { code, message } = KvError.from(error);
        if (code === 'FUTURE_REVISION' && round < patience.retries && !this.#stopped) {
          await this.#pause();
          continue;
        }
        this.#options.log('warn', 'a member was left out of the comparison of data', {
          member: to.toString(16),
          error: message,
        });
        return undefined;
      }
    }
  }

  #pause(): Promise<void> {
    const { clock } = this.#member;
    return new Promise((resolve) => void clock.schedule(BEHIND_RETRY_MS, resolve));
  }

  #askOnce(to: NodeId, revision: number, timeoutMs: number): Promise<HashKvResult> {
    return new Promise((resolve, reject) =>
      this.#member.callPeer(to, { type: 'hashKv', id: BigInt(revision) }, timeoutMs, (answer, error) => {
        if (answer?.type === 'hashKv') resolve(answer.result);
        else reject(error ?? new KvError('INTERNAL', { detail: `hashKv answered ${answer?.type}` }));
      }),
    );
  }

  #repeat(name: string, everyMs: number, run: () => Promise<void>): void {
    const { clock } = this.#member;
    const again = () => {
      if (!this.#stopped) this.#timers.set(name, clock.schedule(everyMs, step));
    };
    const step = () => {
      run()
        .catch((error: unknown) =>
          this.#options.log('warn', 'comparing the data of the members failed', {
            error: KvError.from(error).message,
          }),
        )
        .finally(again);
    };
    again();
  }
}

function isComparable(a: HashKvResult, b: HashKvResult): boolean {
  return a.compactRevision === b.compactRevision && a.hashRevision === b.hashRevision;
}
