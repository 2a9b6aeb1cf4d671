import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KvError } from '@muster/contract';
import type { MemberInfo } from '@muster/kv';
import {
  type ClusterView,
  checkAdd,
  checkedPeerUrls,
  checkPromote,
  checkRemove,
  isCaughtUp,
} from './membership-checks.ts';

type Sketch = 'up' | 'young' | 'down' | 'unstarted' | 'learner';

/** Member 1 is the one that checks. */
function view(...sketches: Sketch[]): ClusterView {
  const connected: Record<Sketch, number | undefined> = {
    up: 6000,
    young: 4000,
    down: undefined,
    unstarted: undefined,
    learner: 6000,
  };
  return {
    self: 1n,
    members: sketches.map((sketch, i) => ({
      id: BigInt(i + 1),
      name: sketch === 'unstarted' ? '' : `m${i + 1}`,
      peerUrls: [],
      clientUrls: [],
      isLearner: sketch === 'learner',
    })),
    connectedForMs: (id) => connected[sketches[Number(id) - 1] as Sketch],
  };
}

const outcome = (run: () => void): string => {
  try {
    run();
    return 'allowed';
  } catch (error) {
    assert.ok(error instanceof KvError);
    return error.code;
  }
};

const add = (cluster: ClusterView, isLearner = false) => outcome(() => checkAdd(cluster, isLearner));
const remove = (cluster: ClusterView, id: bigint) =>
  outcome(() => checkRemove(cluster, cluster.members.find((m) => m.id === id) as MemberInfo));

describe('strict reconfiguration checks', () => {
  it('lets a lone member have a second one, and no third before that has started', () => {
    assert.equal(add(view('up')), 'allowed');
    assert.equal(add(view('up', 'unstarted')), 'MEMBER_NOT_ENOUGH_STARTED');
    assert.equal(add(view('up', 'up')), 'allowed');
  });

  it('counts the new member as down', () => {
    assert.equal(add(view('up', 'up', 'down')), 'UNHEALTHY_CLUSTER');
    assert.equal(add(view('up', 'up', 'up')), 'allowed');
    assert.equal(add(view('up', 'up', 'up', 'up', 'down')), 'allowed');
    assert.equal(add(view('up', 'up', 'young')), 'UNHEALTHY_CLUSTER', 'connected for 5 s');
  });

  it('asks nothing about started members for a learner, but a healthy cluster', () => {
    assert.equal(add(view('up', 'unstarted'), true), 'UNHEALTHY_CLUSTER');
    assert.equal(add(view('up', 'up', 'up', 'learner'), true), 'allowed');
  });

  it('lets go of who is down, and of others only while a majority of the rest is healthy', () => {
    assert.equal(remove(view('up', 'up', 'down'), 3n), 'allowed');
    assert.equal(remove(view('up', 'up', 'down'), 2n), 'UNHEALTHY_CLUSTER');
    assert.equal(remove(view('up', 'up', 'down'), 1n), 'UNHEALTHY_CLUSTER');
    assert.equal(remove(view('up', 'up', 'up'), 2n), 'allowed');
    assert.equal(remove(view('up', 'up'), 2n), 'allowed');
    assert.equal(remove(view('up', 'unstarted'), 1n), 'MEMBER_NOT_ENOUGH_STARTED');
    assert.equal(remove(view('up'), 1n), 'MEMBER_NOT_ENOUGH_STARTED');
    assert.equal(remove(view('up', 'down', 'learner'), 3n), 'allowed', 'a learner goes whenever');
  });

  it('promotes where enough have started', () => {
    assert.equal(
      outcome(() => checkPromote(view('up', 'learner'))),
      'allowed',
    );
    assert.equal(
      outcome(() => checkPromote(view('up', 'unstarted', 'unstarted', 'learner'))),
      'MEMBER_NOT_ENOUGH_STARTED',
    );
    assert.deepEqual([isCaughtUp(90, 100), isCaughtUp(89, 100)], [true, false]);
  });

  it('takes scheme, host and port, sorted and each once', () => {
    const urls = [' http://b:2380', 'https://[::1]:2380', 'http://b:2380'];
    assert.deepEqual(checkedPeerUrls(urls), ['http://b:2380', 'https://[::1]:2380']);
    for (const bad of [
      '',
      'b:2380',
      'http://b',
      'http://b:99999',
      'http://b:1/',
      'unix://b:1',
      'http://u@b:1',
    ]) {
      assert.equal(
        outcome(() => checkedPeerUrls([bad])),
        'MEMBER_BAD_URLS',
        bad,
      );
    }
    assert.equal(
      outcome(() => checkedPeerUrls([])),
      'MEMBER_BAD_URLS',
    );
  });
});
