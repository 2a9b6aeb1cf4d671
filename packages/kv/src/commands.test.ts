import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionFailed, utf8 } from '@muster/base';
import fc from 'fast-check';
import type { Permission } from './auth-api.ts';
import { type Command, decodeCommand, encodeCommand } from './commands.ts';
import type { Compare, PutRequest, RangeRequest, RequestOp, TxnRequest } from './types.ts';

const bytes = fc.uint8Array({ maxLength: 20 });
const id = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const number = fc.integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
const natural = fc.nat(Number.MAX_SAFE_INTEGER);
const yes = fc.constant(true as const);
const optional = { requiredKeys: ['key'] as ['key'] };

const put = fc.record(
  {
    key: bytes,
    value: bytes,
    lease: id.filter((l) => l !== 0n),
    prevKv: yes,
    ignoreValue: yes,
    ignoreLease: yes,
  },
  optional,
) as fc.Arbitrary<PutRequest>;
const deleteRange = fc.record({ key: bytes, rangeEnd: bytes, prevKv: yes }, optional);
const range = fc.record(
  {
    key: bytes,
    rangeEnd: bytes,
    limit: number,
    revision: number,
    sortOrder: fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const),
    sortTarget: fc.constantFrom(
      'key' as const,
      'version' as const,
      'create' as const,
      'mod' as const,
      'value' as const,
    ),
    serializable: yes,
    keysOnly: yes,
    countOnly: yes,
    minModRevision: number,
    maxModRevision: number,
    minCreateRevision: number,
    maxCreateRevision: number,
  },
  optional,
) as fc.Arbitrary<RangeRequest>;
const operand = fc.oneof(
  fc.record({ kind: fc.constantFrom('version' as const, 'create' as const, 'mod' as const), number }),
  fc.record({ kind: fc.constant('value' as const), bytes }),
  fc.record({ kind: fc.constant('lease' as const), id }),
);
const result = fc.oneof(fc.constantFrom('equal', 'greater', 'less', 'notEqual'), fc.integer());
const target = fc.oneof(fc.constantFrom('version', 'create', 'mod', 'value', 'lease'), fc.integer());
const compare = fc.record(
  { key: bytes, rangeEnd: bytes, result, target, operand },
  { requiredKeys: ['key', 'result', 'target'] },
) as fc.Arbitrary<Compare>;
const { txn } = fc.letrec<{ txn: TxnRequest; op: RequestOp }>((tie) => ({
  op: fc.oneof(
    { depthSize: 'small' },
    fc.record({ type: fc.constant('put' as const), put }),
    fc.record({ type: fc.constant('range' as const), range }),
    fc.record({ type: fc.constant('deleteRange' as const), deleteRange }),
    fc.constant({ type: 'none' as const }),
    fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }),
  ),
  txn: fc.record({
    compare: fc.array(compare, { maxLength: 3 }),
    success: fc.array(tie('op'), { maxLength: 3 }),
    failure: fc.array(tie('op'), { maxLength: 3 }),
  }),
}));

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const permission = fc.record(
  {
    type: fc.constantFrom('read' as const, 'write' as const, 'readwrite' as const),
    key: bytes,
    rangeEnd: bytes,
  },
  { requiredKeys: ['type', 'key'] },
) as fc.Arbitrary<Permission>;

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ type: fc.constant('put' as const), put }),
  fc.record({ type: fc.constant('deleteRange' as const), deleteRange }),
  fc.record({ type: fc.constant('txn' as const), txn }),
  fc.record({ type: fc.constant('compact' as const), revision: number, physical: fc.boolean() }),
  fc.record({ type: fc.constant('leaseGrant' as const), id, ttlSeconds: number }),
  fc.record({ type: fc.constant('leaseRevoke' as const), id }),
  fc.record({
    type: fc.constant('leaseCheckpoint' as const),
    checkpoints: fc.array(fc.record({ id, remainingTtlSeconds: natural })),
  }),
  fc.record({
    type: fc.constant('alarm' as const),
    action: fc.constantFrom('activate' as const, 'deactivate' as const),
    memberId: unsigned,
    alarm: fc.constantFrom('none' as const, 'nospace' as const, 'corrupt' as const),
  }),
  fc.record({
    type: fc.constant('memberAttributes' as const),
    id: unsigned,
    name: fc.string({ unit: 'grapheme' }),
    clientUrls: fc.array(fc.webUrl()),
  }),
  fc.constantFrom(
    { type: 'noop' as const },
    { type: 'authEnable' as const },
    { type: 'authDisable' as const },
  ),
  fc.record({ type: fc.constant('authenticate' as const), name: text, token: text, authRevision: natural }),
  fc.record({
    type: fc.constant('userAdd' as const),
    name: text,
    hashedPassword: text,
    noPassword: fc.boolean(),
  }),
  fc.record({ type: fc.constantFrom('userDelete' as const, 'roleAdd' as const), name: text }),
  fc.record({ type: fc.constant('userChangePassword' as const), name: text, hashedPassword: text }),
  fc.record({ type: fc.constant('userGrantRole' as const), user: text, role: text }),
  fc.record({ type: fc.constant('userRevokeRole' as const), name: text, role: text }),
  fc.record({ type: fc.constant('roleDelete' as const), role: text }),
  fc.record({ type: fc.constant('roleGrantPermission' as const), name: text, permission }),
  fc.record({ type: fc.constant('roleRevokePermission' as const), role: text, key: bytes, rangeEnd: bytes }),
);

const origin = fc.oneof(
  fc.constantFrom('internal' as const, 'anonymous' as const),
  fc.record({ username: text, authRevision: natural }),
);

test('every command comes back from its bytes', () => {
  fc.assert(
    fc.property(command, unsigned, natural, origin, (generated, member, sequence, who) => {
      const original = structuredClone(generated); // with ordinary prototypes
      const from = structuredClone(who);
      const requestId = { member, sequence };
      const decoded = decodeCommand(encodeCommand(requestId, original, from));
      assert.deepEqual(decoded, { requestId, command: original, origin: from });
    }),
    { numRuns: 1000 },
  );
});

test('a command cut short, lengthened or of a foreign format is refused, never misread', () => {
  fc.assert(
    fc.property(command, fc.nat(), (original, cut) => {
      const bytes = encodeCommand({ member: 1n, sequence: 1 }, original);
      assert.throws(() => decodeCommand(bytes.subarray(0, cut % bytes.length)), AssertionFailed);
      assert.throws(() => decodeCommand(Uint8Array.of(...bytes, 0)), AssertionFailed);
      assert.throws(() => decodeCommand(Uint8Array.of(bytes[0]! + 1, ...bytes.subarray(1))), /format/);
    }),
  );
});

test('random bytes are refused or decoded, but nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      noise[0] = 1;
      try {
        decodeCommand(noise);
      } catch (error) {
        assert.ok(error instanceof AssertionFailed, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('a command without a user reads as it did before there were users', () => {
  const bytes = encodeCommand({ member: 1n, sequence: 1 }, { type: 'leaseRevoke', id: 7n });
  assert.equal(bytes[1], 6);
  assert.equal(decodeCommand(bytes).origin, 'anonymous');
});

test('a small put costs few bytes beyond its key and value', () => {
  const value = new Uint8Array(256);
  const command: Command = { type: 'put', put: { key: utf8('some/key'), value } };
  const bytes = encodeCommand({ member: 0xdead_beef_dead_beefn, sequence: 70_000 }, command);
  assert.ok(bytes.length <= 8 + 256 + 18, String(bytes.length));
});

test('commands that follow each other do not share changeable bytes', () => {
  const big = { type: 'put', put: { key: utf8('k'), value: new Uint8Array(100_000).fill(7) } } as const;
  const small = { type: 'put', put: { key: utf8('k'), value: utf8('v') } } as const;
  const all = [small, big, small, big, big, small].map((each) =>
    encodeCommand({ member: 1n, sequence: 1 }, each),
  );
  const lengths = all.map((each) => {
    const { command } = decodeCommand(each);
    return (
      command.type === 'put' && command.put.value?.every((b) => b === 7 || b === 0x76) && each.length > 17
    );
  });
  assert.deepEqual(lengths, [false, true, false, true, true, false]);
  assert.deepEqual(decodeCommand(all[0] as Uint8Array).command, small);
});

test('a command that could not be read back is refused, and leaves nothing in the next one', () => {
  const requestId = { member: 1n, sequence: 1 };
  const bad: readonly Command[] = [
    ...[2 ** 53, 2 ** 63, -(2 ** 63), 1.5, Number.NaN].map(
      (ttlSeconds): Command => ({ type: 'leaseGrant', id: 7n, ttlSeconds }),
    ),
    { type: 'compact', revision: 2 ** 60, physical: false },
    { type: 'alarm', action: 'activate', memberId: 1n, alarm: 'fire' as 'none' },
  ];
  const good: Command = { type: 'leaseRevoke', id: 7n };
  for (const command of bad) {
    assert.throws(() => encodeCommand(requestId, command), AssertionFailed);
    assert.deepEqual(decodeCommand(encodeCommand(requestId, good)).command, good);
  }
});
