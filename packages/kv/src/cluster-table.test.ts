import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KvError } from '@muster/contract';
import { ClusterTable, type MemberChange } from './cluster-table.ts';
import { MemoryEngine } from './memory-engine.ts';

const outcome = (table: ClusterTable, change: MemberChange): string => {
  const before = table.members();
  try {
    table.change(change);
    return 'done';
  } catch (error) {
    assert.ok(error instanceof KvError);
    assert.deepEqual(table.members(), before, 'a change that is refused changes nothing');
    return error.code;
  }
};

const add = (id: bigint, url: string, isLearner = false): MemberChange => ({
  type: 'memberAdd',
  id,
  peerUrls: [url],
  isLearner,
  learnersMax: 1,
});

describe('changes of the members', () => {
  it('are judged in the order of etcd, and survive a restart', () => {
    const engine = new MemoryEngine();
    const table = new ClusterTable(engine);
    assert.equal(outcome(table, add(1n, 'http://a:1')), 'done');
    assert.equal(outcome(table, add(1n, 'http://a:1')), 'MEMBER_EXISTS', 'the same URL within one second');
    assert.equal(outcome(table, add(2n, 'http://a:1')), 'PEER_URL_EXISTS');
    assert.equal(outcome(table, add(2n, 'http://b:1', true)), 'done');
    assert.equal(outcome(table, add(3n, 'http://c:1', true)), 'TOO_MANY_LEARNERS');
    assert.equal(outcome(table, { type: 'memberPromote', id: 1n }), 'MEMBER_NOT_LEARNER');
    assert.equal(outcome(table, { type: 'memberPromote', id: 9n }), 'MEMBER_NOT_FOUND');
    assert.equal(
      outcome(table, { type: 'memberRemove', id: 1n }),
      'MEMBER_NOT_ENOUGH_STARTED',
      'the last voter',
    );
    assert.equal(outcome(table, { type: 'memberPromote', id: 2n }), 'done');
    assert.equal(
      outcome(table, { type: 'memberUpdate', id: 2n, peerUrls: ['http://a:1'] }),
      'PEER_URL_EXISTS',
    );
    assert.equal(
      outcome(table, { type: 'memberUpdate', id: 2n, peerUrls: ['http://b:1', 'http://b:2'] }),
      'done',
    );
    assert.equal(outcome(table, { type: 'memberRemove', id: 1n }), 'done');
    assert.equal(outcome(table, { type: 'memberRemove', id: 1n }), 'MEMBER_NOT_FOUND');
    assert.equal(
      outcome(table, { type: 'memberUpdate', id: 1n, peerUrls: ['http://d:1'] }),
      'MEMBER_NOT_FOUND',
    );
    assert.equal(outcome(table, add(1n, 'http://a:1')), 'MEMBER_NOT_FOUND', 'its id never comes back');
    assert.equal(outcome(table, add(4n, 'http://a:1')), 'done', 'its URL may');
    engine.commit(1);
    for (const each of [table, new ClusterTable(engine)]) {
      assert.deepEqual(
        each.members().map((m) => [m.id, m.peerUrls, m.isLearner]),
        [
          [2n, ['http://b:1', 'http://b:2'], false],
          [4n, ['http://a:1'], false],
        ],
      );
      assert.deepEqual(each.removedIds(), [1n]);
    }
  });
});
