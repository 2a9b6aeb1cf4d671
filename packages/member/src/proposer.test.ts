import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, utf8 } from '@muster/base';
import type { Command } from '@muster/kv';
import type { RaftNode } from '@muster/raft';
import { DEFAULT_LIMITS } from './limits.ts';
import { Proposer } from './proposer.ts';

const command: Command = { type: 'put', put: { key: utf8('k'), value: utf8('v') } };

test('writes whose time is over do not stay queued while nobody leads', () => {
  const clock = new ManualClock();
  const raft = { id: 1n, term: 3, role: 'follower' } as RaftNode;
  const proposer = new Proposer({
    raft,
    clock,
    limits: { ...DEFAULT_LIMITS, pendingMax: 10 },
    firstSequence: 0,
    beforeChange: () => {},
  });
  const errors: (string | undefined)[] = [];
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 10; i++)
      proposer.submit(command, 100, undefined, (_outcome, error) => errors.push(error?.code));
    clock.advance(100);
    proposer.expire(clock.nowMs());
  }
  assert.equal(errors.length, 200);
  assert.ok(errors.every((code) => code === 'TIMEOUT'));
  assert.equal(proposer.queued, 0);
});

test('what a leader concluded in its term is refused once it leads in another, or not at all', () => {
  const clock = new ManualClock();
  const raft = { id: 1n, term: 3, role: 'leader' };
  const node = { ...raft, propose: () => ({ accepted: true }) as const };
  const proposer = new Proposer({
    raft: node as unknown as RaftNode,
    clock,
    limits: DEFAULT_LIMITS,
    firstSequence: 0,
    beforeChange: () => {},
  });
  const errors: string[] = [];
  const submit = () =>
    proposer.submit(command, 5000, undefined, (_outcome, error) => errors.push(error?.code ?? 'ok'), {
      onlyInTerm: node.term,
    });
  submit();
  node.term = 5;
  proposer.proposeQueued();
  assert.deepEqual(errors, ['LEADER_CHANGED'], 'it was still queued');
  submit();
  proposer.proposeQueued();
  node.role = 'follower';
  node.term = 6;
  proposer.onNewTerm(6);
  assert.deepEqual(errors, ['LEADER_CHANGED', 'LEADER_CHANGED'], 'it was proposed and lost');
  assert.equal(proposer.queued + proposer.pending, 0);
});
