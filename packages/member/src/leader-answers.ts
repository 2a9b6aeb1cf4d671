import { KvError } from '@muster/contract';
import type { HashKvResult, StateMachine } from '@muster/kv';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { Lessor } from './lessor.ts';

/**
 * What members ask each other. Leases are the leader's business alone. Leadership is confirmed by a read-index round first, so that a deposed leader
 * renews nothing (etcd 3.6 does the same); rounds are shared, so that many renewals cost few.
 */
export class LeaderAnswers {
  readonly #lessor: Lessor;
  readonly #machine: () => StateMachine;
  readonly #learnerReady: (id: bigint) => boolean;
  readonly #applied: () => number;
  readonly #hashKv: (revision: number) => Promise<HashKvResult>;
  readonly #read: (done: (error: KvError | undefined) => void) => void;

  constructor(options: {
    readonly lessor: Lessor;
    readonly machine: () => StateMachine;
    /** Index that the machine stands at. */
    readonly applied: () => number;
    /** Whether a learner has caught up, as this leader sees it. */
    readonly learnerReady: (id: bigint) => boolean;
    readonly hashKv: (revision: number) => Promise<HashKvResult>;
    readonly read: (done: (error: KvError | undefined) => void) => void;
  }) {
    this.#lessor = options.lessor;
    this.#machine = options.machine;
    this.#applied = options.applied;
    this.#learnerReady = options.learnerReady;
    this.#hashKv = options.hashKv;
    this.#read = options.read;
  }

  answer(call: LeaderCall, done: (answer: LeaderAnswer) => void): void {
    if (call.type === 'isKnown') {
      return done(this.#isKnown(call.id));
    }
    if (call.type === 'hashKv') {
      this.#hashKv(Number(call.id)).then(
        (result) => done({ type: 'hashKv', result }),
        (error: unknown) => done({ type: 'error', code: KvError.from(error).code }),
      );
      return;
    }
    const notLeader = () => done({ type: 'error', code: 'NOT_LEADER' });
    if (!this.#lessor.primary) return notLeader();
    this.#read((error) => {
      if (error) return done({ type: 'error', code: error.code });
      if (!this.#lessor.primary) return notLeader();
      if (call.type === 'learnerReady')
        return done({ type: 'learnerReady', ready: this.#learnerReady(call.id) });
      if (call.type === 'timeToLive') return done(this.#timeToLive(call.id, call.keys));
      this.#lessor.renew(call.id, (ttlSeconds, failure) =>
        done(failure ? { type: 'error', code: failure.code } : { type: 'keepAlive', ttlSeconds }),
      );
    });
  }

  #isKnown(asker: bigint): LeaderAnswer {
    const members = this.#machine().members();
    const member = members.find(({ id }) => id === asker);
    if (member === undefined) return { type: 'isKnown', known: false, index: 0, voters: [] };
    const voters = members.filter(({ isLearner }) => !isLearner).map(({ id }) => id);
    return { type: 'isKnown', known: member.clientUrls.length > 0, index: this.#applied(), voters };
  }

  #timeToLive(id: bigint, withKeys: boolean): LeaderAnswer {
    const { leases } = this.#machine();
    const lease = leases.get(id);
    if (!lease) return { type: 'timeToLive', ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] };
    return {
      type: 'timeToLive',
      ttlSeconds: this.#lessor.remainingSeconds(id),
      grantedTtlSeconds: lease.ttlSeconds,
      keys: withKeys ? [...leases.keysOf(id)] : [],
    };
  }
}
