import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock } from '@muster/base';
import type { KvError } from '@muster/contract';
import { type Command, MemoryEngine, StateMachine } from '@muster/kv';
import { Lessor } from './lessor.ts';
import { DEFAULT_LIMITS } from './limits.ts';

type Proposal = { readonly command: Command; readonly done: (error: KvError | undefined) => void };

/** A lessor whose proposals wait until they are applied one by one, as a log would. */
function harness() {
  const clock = new ManualClock();
  const machine = new StateMachine(new MemoryEngine(), { minLeaseTtlSeconds: 1 });
  const { leases } = machine;
  const log: Proposal[] = [];
  const lessor = new Lessor({
    clock,
    leases: () => leases,
    propose: (command, done) => log.push({ command, done }),
    limits: DEFAULT_LIMITS,
    electionTimeoutMs: 1000,
  });
  const applyNext = () => {
    const { command, done } = log.shift() as Proposal;
    machine.apply(command);
    done(undefined);
  };
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= 100) {
      clock.advance(Math.min(100, left));
      lessor.tick(100);
    }
  };
  return { leases, log, lessor, applyNext, pass };
}

describe('lessor', () => {
  test('a checkpoint never lands behind the renewal that undoes the one before', () => {
    const { leases, log, lessor, applyNext, pass } = harness();
    leases.grant(1n, 60);
    lessor.promote();
    pass(DEFAULT_LIMITS.leaseCheckpointMs);
    assert.equal(log.length, 1, 'time that ran without renewal is checkpointed');
    applyNext();
    assert.ok((leases.get(1n)?.remainingTtlSeconds ?? 0) > 0);
    let renewed = 0;
    pass(DEFAULT_LIMITS.leaseCheckpointMs - 100);
    lessor.renew(1n, (ttl) => {
      renewed = ttl;
    });
    // The next checkpoint falls due while the renewal is on its way through the log.
    pass(500);
    while (log.length > 0) applyNext();
    assert.equal(renewed, 60);
    assert.equal(
      leases.get(1n)?.remainingTtlSeconds,
      0,
      'a leader that takes over now would give the renewed lease less than its time',
    );
  });
});
