import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, utf8 } from '@muster/base';
import { MemoryEngine, StateMachine, WatchHub, type WatchResponse } from '@muster/kv';
import { LocalApi } from './local-api.ts';
import { LocalCalls } from './local-calls.ts';
import type { Member } from './member.ts';
import { reasonAgainstWatch } from './watch-rights.ts';

const key = utf8('a');

/** A state machine in which ann may read `a`, and what of a member a watch needs. */
function standIn() {
  const machine = new StateMachine(new MemoryEngine(), { minLeaseTtlSeconds: 1 });
  let index = 0;
  const apply = (command: Parameters<typeof machine.auth.apply>[0]) => machine.auth.apply(command, ++index);
  for (const name of ['root', 'ann'])
    apply({ type: 'userAdd', name, hashedPassword: 'x', noPassword: false });
  apply({ type: 'roleAdd', name: 'r' });
  apply({ type: 'roleGrantPermission', name: 'r', permission: { type: 'read', key } });
  apply({ type: 'userGrantRole', user: 'root', role: 'root' });
  apply({ type: 'userGrantRole', user: 'ann', role: 'r' });
  apply({ type: 'authEnable' });
  const clock = new ManualClock();
  const header = () => ({ clusterId: 1n, memberId: 1n, raftTerm: 1, revision: machine.currentRevision });
  const hub = new WatchHub({ source: machine, clock, header });
  const read = (_: number | undefined, done: () => void): void => void Promise.resolve().then(done);
  const member = { machine, hub, read, isLearner: false, soft: { leader: 1n }, applied: 0, clock, header };
  const revoke = (): void => {
    apply({ type: 'userRevokeRole', name: 'ann', role: 'r' });
    hub.revoke((holder, range) => reasonAgainstWatch(machine.auth, holder, range));
  };
  return { member: member as unknown as Member, machine, clock, revoke };
}

test('a right that goes while a watch is judged is gone for the watch, whenever that happens', async () => {
  for (let turns = 0; turns < 20; turns++) {
    const { member, machine, clock, revoke } = standIn();
    const claims = { username: 'ann', revision: machine.auth.revision };
    const signedTokens = { verify: async () => claims, sign: async () => '' };
    const told: WatchResponse[] = [];
    const sink = (response: WatchResponse): boolean => void told.push(response) === undefined;
    new LocalCalls(member, signedTokens).watch({ key }, sink, { token: 't' });
    for (let i = 0; i < turns; i++) await null;
    revoke();
    for (let i = 0; i < 50; i++) {
      await null;
      clock.advance(1);
    }
    assert.equal(told.at(-1)?.type, 'canceled', `after ${turns} turns`);
  }
});

test('a read shows nothing that was written after its right had gone, whenever that happens', async () => {
  for (let turns = 0; turns < 20; turns++) {
    const { member, machine, revoke } = standIn();
    const claims = { username: 'ann', revision: machine.auth.revision };
    const auth = { signedTokens: { verify: async () => claims, sign: async () => '' } };
    const api = new LocalApi(member, { auth } as unknown as ConstructorParameters<typeof LocalApi>[1]);
    const read = api.range({ key }, { token: 't' }).then(
      ({ kvs }) => kvs.length,
      () => 0,
    );
    for (let i = 0; i < turns; i++) await null;
    revoke();
    machine.apply({ type: 'put', put: { key } }, 'internal');
    assert.equal(await read, 0, `after ${turns} turns`);
  }
});
