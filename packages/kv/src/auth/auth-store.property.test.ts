import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '@muster/base';
import fc from 'fast-check';
import { AuthModel } from '../../test/auth-model.ts';
import type { PermissionType } from '../auth-api.ts';
import type { Command } from '../commands.ts';
import { MemoryEngine } from '../memory-engine.ts';
import { StateMachine } from '../state-machine.ts';
import type { RequestOp, TxnRequest } from '../types.ts';

const OPTIONS = { minLeaseTtlSeconds: 1 };
const name = fc.constantFrom('root', 'ann', 'bob', '');
const role = fc.constantFrom('root', 'r1', 'r2', '');
const key = fc.constantFrom('\0', 'a', 'a\0', 'aa', 'ab', 'b', 'c', '\xff').map(bytes);
const rangeEnd = fc.option(fc.constantFrom('', '\0', 'a', 'a\0', 'ab', 'b', 'c', 'd', '\xff').map(bytes), {
  nil: undefined,
  freq: 2,
});
const lease = fc.constantFrom(0n, 1n, 2n);

function bytes(latin: string): Uint8Array {
  return Uint8Array.from(latin, (c) => c.charCodeAt(0));
}

const span = fc
  .record({ key, rangeEnd })
  .map(({ key, rangeEnd }) => (rangeEnd ? { key, rangeEnd } : { key }));
const permission = fc
  .record({ type: fc.constantFrom<PermissionType>('read', 'write', 'readwrite'), span })
  .map(({ type, span }) => ({ type, ...span }));

const management: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    type: fc.constant('userAdd' as const),
    name,
    hashedPassword: fc.constant('h'),
    noPassword: fc.boolean(),
  }),
  fc.record({ type: fc.constantFrom('userDelete' as const, 'roleAdd' as const), name: fc.oneof(name, role) }),
  fc.record({ type: fc.constant('userChangePassword' as const), name, hashedPassword: fc.constant('h2') }),
  { weight: 3, arbitrary: fc.record({ type: fc.constant('userGrantRole' as const), user: name, role }) },
  fc.record({ type: fc.constant('userRevokeRole' as const), name, role }),
  fc.record({ type: fc.constant('roleDelete' as const), role }),
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('roleGrantPermission' as const), name: role, permission }),
  },
  fc.record({ role, span }).map(({ role, span: { key, rangeEnd = bytes('') } }) => ({
    type: 'roleRevokePermission' as const,
    role,
    key,
    rangeEnd,
  })),
  fc.constantFrom<Command>({ type: 'authEnable' }, { type: 'authDisable' }),
);

const put = fc.record({ key, lease, prevKv: fc.boolean() });
const deleteRange = fc
  .record({ span, prevKv: fc.boolean() })
  .map(({ span, prevKv }) => ({ ...span, prevKv }));
const { txn } = fc.letrec<{ txn: TxnRequest; op: RequestOp }>((tie) => ({
  op: fc.oneof(
    { depthSize: 'small' },
    fc.record({ type: fc.constant('put' as const), put }),
    fc.record({ type: fc.constant('range' as const), range: span }),
    fc.record({ type: fc.constant('deleteRange' as const), deleteRange }),
    fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }),
  ),
  txn: fc.record({
    compare: fc.array(
      span.map((s) => ({ ...s, target: 'mod' as const, result: 'equal' as const })),
      { maxLength: 2 },
    ),
    success: fc.array(tie('op'), { maxLength: 2 }),
    failure: fc.array(tie('op'), { maxLength: 2 }),
  }),
}));
const data: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ type: fc.constant('put' as const), put }),
  fc.record({ type: fc.constant('deleteRange' as const), deleteRange }),
  fc.record({ type: fc.constant('txn' as const), txn }),
  fc.record({ type: fc.constant('leaseRevoke' as const), id: lease }),
  fc.record({
    type: fc.constant('compact' as const),
    revision: fc.constant(1),
    physical: fc.constant(false),
  }),
);
const step = fc.record({
  command: fc.oneof({ weight: 3, arbitrary: management }, { weight: 2, arbitrary: data }),
  who: fc.constantFrom('root', 'root', 'ann', 'bob', 'nobody', 'anonymous'),
  isOld: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});

const isManagement = (command: Command): boolean => /^(auth|user|role)/.test(command.type);

/** The users and rights that make something possible at all; without them most commands are refused for one reason. */
const BEGINNING: readonly Command[] = [
  { type: 'userAdd', name: 'root', hashedPassword: 'h', noPassword: false },
  { type: 'userAdd', name: 'ann', hashedPassword: 'h', noPassword: false },
  { type: 'roleAdd', name: 'r1' },
  { type: 'roleAdd', name: 'r2' },
  { type: 'userGrantRole', user: 'root', role: 'root' },
  { type: 'userGrantRole', user: 'ann', role: 'r1' },
  {
    type: 'roleGrantPermission',
    name: 'r1',
    permission: { type: 'readwrite', key: utf8('a'), rangeEnd: utf8('b') },
  },
];

test('users, roles and rights are what the plain rules say, also after a restart and on every member alike', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, isOnFromStart) => {
      const engine = new MemoryEngine();
      let machine = new StateMachine(engine, OPTIONS);
      const other = new StateMachine(new MemoryEngine(), OPTIONS);
      const model = new AuthModel();
      let index = 0;
      const both = (...args: Parameters<StateMachine['apply']>) => {
        const [command, origin] = args;
        const outcome = machine.apply(command, origin, ++index);
        const there = other.apply(command, origin, index);
        assert.deepEqual(
          'error' in outcome ? outcome.error.code : 'ok',
          'error' in there ? there.error.code : 'ok',
        );
        return 'error' in outcome ? outcome.error.code : 'ok';
      };
      for (const id of [1n, 2n]) both({ type: 'leaseGrant', id, ttlSeconds: 5 }, 'internal');
      for (const [id, held] of [
        [1n, 'aa'],
        [2n, 'c'],
      ] as const) {
        both({ type: 'put', put: { key: utf8(held), lease: id } }, 'internal');
      }
      const begin: Command[] = isOnFromStart ? [...BEGINNING, { type: 'authEnable' }] : [...BEGINNING];
      for (const command of begin) assert.equal(both(command, 'internal'), model.manage(command));

      for (const { command, who, isOld } of steps) {
        const revision = model.revision - (isOld ? 1 : 0);
        const holder = who === 'anonymous' ? who : { name: who, revision };
        const origin = who === 'anonymous' ? who : { username: who, authRevision: revision };
        for (const id of [1n, 2n]) {
          const keys = machine.leases.keysOf(id).map((each) => String.fromCharCode(...each));
          model.leases.set(id, new Set(keys));
        }
        const judged = model.judge(holder, command);
        assert.equal(machine.refusalFor(command, origin)?.code ?? 'ok', judged);
        const storeBefore = machine.currentRevision;
        const outcome = both(command, origin);
        if (judged !== 'ok') {
          assert.equal(outcome, judged);
          assert.equal(machine.currentRevision, storeBefore);
        } else if (isManagement(command)) {
          assert.equal(outcome, model.manage(command));
        } else {
          assert.ok(!['PERMISSION_DENIED', 'USER_EMPTY', 'AUTH_OLD_REVISION'].includes(outcome), outcome);
        }
        assert.equal(machine.auth.revision, model.revision);
        assert.equal(machine.auth.enabled, model.enabled);
        if (index % 7 === 0) {
          machine.flushMeta();
          engine.commit(index);
          machine = new StateMachine(engine, OPTIONS);
        }
      }
      assert.equal(machine.storeHash(), other.storeHash());
      assert.deepEqual(
        machine.auth.users().map((user) => [user.name, [...user.roles]]),
        [...model.users].map(([user, held]) => [user, [...held].sort()]).sort(),
      );
    }),
    { numRuns: 1500 },
  );
});

test('a range is allowed when what was granted covers it together, and not with a gap between', () => {
  const span2 = fc.record({ span, type: fc.constantFrom<PermissionType>('read', 'write', 'readwrite') });
  fc.assert(
    fc.property(fc.array(span2, { maxLength: 6 }), fc.array(span, { maxLength: 8 }), (granted, asked) => {
      const machine = new StateMachine(new MemoryEngine(), OPTIONS);
      const model = new AuthModel();
      const run = (command: Command) => {
        machine.apply(command, 'internal');
        model.manage(command);
      };
      run({ type: 'userAdd', name: 'ann', hashedPassword: 'h', noPassword: false });
      run({ type: 'roleAdd', name: 'r1' });
      run({ type: 'userGrantRole', user: 'ann', role: 'r1' });
      for (const { span, type } of granted) {
        run({ type: 'roleGrantPermission', name: 'r1', permission: { type, ...span } });
      }
      const rights = machine.auth.rightsOf('ann');
      for (const { key, rangeEnd } of asked as { key: Uint8Array; rangeEnd?: Uint8Array }[]) {
        assert.equal(rights?.mayRead(key, rangeEnd), model.may('ann', 'read', key, rangeEnd));
        assert.equal(rights?.mayWrite(key, rangeEnd), model.may('ann', 'write', key, rangeEnd));
      }
    }),
    { numRuns: 2000 },
  );
});
