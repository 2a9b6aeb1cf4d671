import { type ResponseHeader, StateMachine, WatchHub } from '@muster/kv';
import type { MemberOptions } from './member-options.ts';

/** The replicated state as the engine holds it. Also after an installed snapshot: then a new one replaces the old. */
export function openMachine(options: MemberOptions): StateMachine {
  return new StateMachine(options.engine, {
    // The proposer raises it to the minimum of its election timeout, which may be another one on each member.
    minLeaseTtlSeconds: 1,
    quotaBytes: options.quotaBytes,
  });
}

/** A hub over whichever state machine is in force. */
export function makeHub(
  options: MemberOptions,
  member: {
    readonly machine: () => StateMachine;
    readonly header: (revision: number) => ResponseHeader;
  },
): WatchHub {
  const { machine, header } = member;
  const { clock, prng, watchProgressMs } = options;
  return new WatchHub({
    source: {
      get currentRevision() {
        return machine().currentRevision;
      },
      get compactRevision() {
        return machine().compactRevision;
      },
      eventsBetween: (from, to, query) => machine().eventsBetween(from, to, query),
    },
    clock,
    header,
    prng,
    ...(watchProgressMs === undefined ? {} : { limits: { progressIntervalMs: watchProgressMs } }),
  });
}
