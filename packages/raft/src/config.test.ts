import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { Prng } from '@muster/base';
import { ConfigError, EMPTY_CONF_STATE, MemoryLog, type RaftConfig, RaftNode } from './index.ts';

function config(change: Partial<RaftConfig>): RaftConfig {
  const log = new MemoryLog();
  log.append([1, 2, 3].map((index) => ({ index, term: 2, type: 'normal', data: new Uint8Array(0) })));
  return {
    id: 1n,
    log,
    hardState: { term: 2, vote: 0n, commit: 1 },
    confState: { ...EMPTY_CONF_STATE, voters: [1n, 2n, 3n] },
    applied: 0,
    electionTicks: 10,
    heartbeatTicks: 1,
    prng: new Prng(1),
    snapshotMeta: () => undefined,
    ...change,
  };
}

const conf = (change: Partial<typeof EMPTY_CONF_STATE>) => ({ ...EMPTY_CONF_STATE, ...change });

const bad: readonly [string, Partial<RaftConfig>, RegExp][] = [
  ['id', { id: 0n }, /id is 0, expected a bigint from 1/],
  ['electionTicks', { electionTicks: 1.5 }, /electionTicks is 1.5, expected a whole number of at least 2/],
  ['heartbeatTicks', { heartbeatTicks: 0 }, /expected a whole number of at least 1/],
  ['electionTicks', { heartbeatTicks: 10 }, /expected more than heartbeatTicks \(10\)/],
  ['applied', { applied: 4 }, /applied is 4, expected at most the log's lastIndex \(3\)/],
  ['applied', { log: new MemoryLog(9, 2) }, /at least the log's compactedIndex \(9\)/],
  ['hardState.commit', { hardState: { term: 2, vote: 0n, commit: 4 } }, /at most the log's lastIndex \(3\)/],
  ['hardState.term', { hardState: { term: 1, vote: 0n, commit: 0 } }, /at least the last entry's term \(2\)/],
  ['maxAppendBytes', { maxAppendBytes: 0 }, /at least 1/],
  ['maxInflightMessages', { maxInflightMessages: Number.NaN }, /NaN/],
  ['maxPendingReads', { maxPendingReads: -1 }, /-1/],
  ['confState.voters', { confState: conf({ voters: [1n, 1n] }) }, /each id once/],
  ['confState.voters', { confState: conf({ voters: [0n] }) }, /a bigint/],
  ['confState.learners', { confState: conf({ voters: [1n], learners: [1n] }) }, /no id that is a voter/],
  ['confState.learnersNext', { confState: conf({ voters: [1n], learnersNext: [2n] }) }, /votersOutgoing/],
];

for (const [field, change, message] of bad) {
  test(`a bad ${field} is named, with what was given and what is expected: ${message.source}`, () => {
    assert.throws(
      () => new RaftNode(config(change)),
      (error) => error instanceof ConfigError && error.field === field && message.test(error.message),
    );
  });
}

test('a good configuration is taken', () => {
  assert.equal(new RaftNode(config({})).status().commit, 1);
});
