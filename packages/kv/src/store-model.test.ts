import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import fc from 'fast-check';
import { eventText, Harness, kvText } from '../test/store-harness.ts';
import { type ModelOutcome, StoreModel } from '../test/store-model.ts';
import type { ApplyResult } from './applier.ts';
import { isReadOnlyTxn } from './apply-guards.ts';
import type { Command } from './commands.ts';
import { validateTxn } from './request-validation.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeResult,
  RequestOp,
  TxnRequest,
  TxnResult,
} from './types.ts';

const KEYS = ['a', 'aa', 'ab', 'b', 'c', 'd', 'z'];
const key = fc.constantFrom(...KEYS).map(utf8);
const rangeEnd = fc.constantFrom('', '\0', 'ab', 'c', 'e').map(utf8);
const value = fc.constantFrom('', '1', '2', '3').map(utf8);
const leaseId = fc.constantFrom(-3n, 1n, 2n);
const yes = fc.constant(true as const);
const keyOnly = { requiredKeys: ['key'] as ['key'] };

const put = fc.oneof(
  { weight: 6, arbitrary: fc.record({ key, value, prevKv: yes }, keyOnly) },
  { weight: 3, arbitrary: fc.record({ key, value, lease: leaseId, prevKv: yes }) },
  { weight: 1, arbitrary: fc.record({ key, lease: leaseId, ignoreValue: yes }, keyOnly) },
  { weight: 1, arbitrary: fc.record({ key, value, ignoreLease: yes, prevKv: yes }, keyOnly) },
) as fc.Arbitrary<PutRequest>;
const deleteRange = fc.record({ key, rangeEnd, prevKv: yes }, keyOnly) as fc.Arbitrary<DeleteRangeRequest>;
const small = fc.integer({ min: -2, max: 40 });
const range = fc.record(
  {
    key,
    rangeEnd,
    limit: fc.integer({ min: -1, max: 5 }),
    revision: small,
    sortOrder: fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const),
    sortTarget: fc.constantFrom(
      'key' as const,
      'version' as const,
      'create' as const,
      'mod' as const,
      'value' as const,
    ),
    keysOnly: yes,
    countOnly: yes,
    minModRevision: small,
    maxModRevision: small,
    minCreateRevision: small,
    maxCreateRevision: small,
  },
  keyOnly,
) as fc.Arbitrary<RangeRequest>;
const compare = fc.record(
  {
    key,
    rangeEnd,
    result: fc.constantFrom('equal' as const, 'greater' as const, 'less' as const, 'notEqual' as const, 7),
    target: fc.constantFrom(
      'version' as const,
      'create' as const,
      'mod' as const,
      'value' as const,
      'lease' as const,
      8,
    ),
    operand: fc.oneof(
      fc.record({
        kind: fc.constantFrom('version' as const, 'create' as const, 'mod' as const),
        number: fc.nat(6),
      }),
      fc.record({ kind: fc.constant('value' as const), bytes: value }),
      fc.record({ kind: fc.constant('lease' as const), id: leaseId }),
    ),
  },
  { requiredKeys: ['key', 'result', 'target'] },
) as fc.Arbitrary<Compare>;
const { txn } = fc.letrec<{ txn: TxnRequest; op: RequestOp }>((tie) => ({
  op: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('put' as const), put }) },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('range' as const), range }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('deleteRange' as const), deleteRange }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }) },
  ),
  txn: fc.record({
    compare: fc.array(compare, { maxLength: 2 }),
    success: fc.array(tie('op'), { maxLength: 4 }),
    failure: fc.array(tie('op'), { maxLength: 3 }),
  }),
}));

type Step =
  | Command
  | { readonly type: 'range'; readonly range: RangeRequest }
  | {
      readonly type: 'events';
      readonly from: number;
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
    }
  | { readonly type: 'seal' }
  | { readonly type: 'crash' }
  | { readonly type: 'compactStep' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 16, arbitrary: fc.record({ type: fc.constant('put' as const), put }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('deleteRange' as const), deleteRange }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('txn' as const), txn }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('compact' as const),
      revision: small,
      physical: fc.constant(false),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('leaseGrant' as const),
      id: leaseId,
      ttlSeconds: fc.nat(5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('leaseRevoke' as const), id: leaseId }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('range' as const), range }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('events' as const), from: small, key, rangeEnd }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('seal' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('crash' as const) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('compactStep' as const) }) },
);

const rangeText = ({ kvs, more, count, revision }: RangeResult): string =>
  `[${kvs.map(kvText).join(', ')}]${more ? ' more' : ''} of ${count}@${revision}`;

function txnText({ succeeded, responses }: TxnResult): string {
  const answers = responses.map((response): string => {
    if (response.type === 'range') return rangeText(response.range);
    if (response.type === 'txn') return `txn@${response.txn.revision} ${txnText(response.txn)}`;
    return answerText(response);
  });
  return `${succeeded}: [${answers.join('; ')}]`;
}

/** `prev_kvs` is shown where there are any: an answer does not say whether they were asked for. */
function answerText(result: Extract<ApplyResult, { type: 'put' | 'deleteRange' }>): string {
  if (result.type === 'put') {
    const { revision, prevKv } = result.put;
    return `put@${revision}${prevKv ? ` was ${kvText(prevKv)}` : ''}`;
  }
  const { deleted, revision, prevKvs } = result.deleteRange;
  return `deleted ${deleted}@${revision}${prevKvs.length > 0 ? ` was ${prevKvs.map(kvText).join(', ')}` : ''}`;
}

function resultText(result: ApplyResult): string {
  if (result.type === 'put' || result.type === 'deleteRange') return answerText(result);
  if (result.type === 'txn') return `${result.txn.revision} ${txnText(result.txn)}`;
  return result.type === 'leaseGrant' ? `leaseGrant ${result.ttlSeconds}` : result.type;
}

/** The model shows "was" for every prev_kv asked for; drop it where there was nothing to show. */
const tidy = (answer: string): string => answer.replaceAll(/(deleted 0@\d+) was /g, '$1');

function outcomeOf(body: () => string): string {
  try {
    return body();
  } catch (error) {
    assert.ok(error instanceof KvError, String(error));
    return error.code;
  }
}

function checkCommand(h: Harness, model: StoreModel, command: Command): void {
  if (command.type === 'txn') {
    try {
      validateTxn(command.txn, 128);
    } catch {
      return;
    }
    if (isReadOnlyTxn(command.txn)) {
      const read = outcomeOf(() => `${h.machine.currentRevision} ${txnText(h.machine.readTxn(command.txn))}`);
      const { error, answer } = model.clone().apply(command);
      assert.equal(read, error ?? tidy(answer as string));
    }
  }
  const expected: ModelOutcome = model.apply(command);
  const outcome = h.apply(command);
  const answer = 'error' in outcome ? outcome.error.code : resultText(outcome.result);
  assert.equal(answer, expected.error ?? tidy(expected.answer as string));
  assert.deepEqual(outcome.events.map(eventText), expected.events);
  assert.equal(outcome.revision, model.currentRevision);
}

function checkEvents(h: Harness, model: StoreModel, from: number, start: string, end: string): void {
  assert.deepEqual(
    (() => {
      const code = outcomeOf(() => {
        h.events(from, { key: start, end });
        return '';
      });
      return code === '' ? h.events(from, { key: start, end }) : [code];
    })(),
    model.events(from, start, end),
  );
}

function checkAll(h: Harness, model: StoreModel): void {
  assert.equal(h.machine.currentRevision, model.currentRevision);
  assert.equal(h.machine.compactRevision, model.compactRevision);
  for (let revision = Math.max(1, model.compactRevision); revision <= model.currentRevision; revision++) {
    const request = { key: utf8('\0'), rangeEnd: utf8('\0'), revision };
    assert.equal(rangeText(h.machine.range(request)), model.range(request));
  }
  checkEvents(h, model, Math.max(0, model.compactRevision), '\0', '\0');
  const leases = h.machine.leases.list().map((lease) => [lease.id, lease.ttlSeconds] as const);
  assert.deepEqual(new Map(leases), model.leases);
  for (const [id] of leases) assert.deepEqual(h.machine.leases.keysOf(id).map(utf8Text), model.keysOf(id));
}

test('random commands, reads, compactions and crashes agree with the dumb model', () => {
  let revisions = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 15, maxLength: 100, size: 'max' }),
      fc.integer({ min: 1, max: 9 }),
      (steps, batch) => {
        const h = new Harness({ compactionBatch: batch });
        let model = new StoreModel();
        let sealed = model.clone();
        for (const each of steps) {
          if (each.type === 'seal') {
            h.seal();
            sealed = model.clone();
          } else if (each.type === 'crash') {
            h.crash();
            model = sealed.clone();
            checkAll(h, model);
          } else if (each.type === 'compactStep') h.machine.compactStep();
          else if (each.type === 'range')
            assert.equal(
              outcomeOf(() => rangeText(h.machine.range(each.range))),
              model.range(each.range),
            );
          else if (each.type === 'events')
            checkEvents(h, model, each.from, utf8Text(each.key), utf8Text(each.rangeEnd));
          else checkCommand(h, model, each);
        }
        checkAll(h, model);
        const hash = h.machine.storeHash();
        while (!h.machine.compactStep());
        checkAll(h, model);
        assert.equal(h.machine.storeHash(), hash);
        revisions += model.currentRevision;
      },
    ),
    { numRuns: Number(process.env.STORE_RUNS ?? 800) },
  );
  assert.ok(revisions > 8000, `only ${revisions} revisions were made`);
});

test('every member that applies the same log has the same hash, wherever it compacts and restarts', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 15, maxLength: 60, size: 'max' }), (steps) => {
      const [one, two] = [new Harness({ compactionBatch: 2 }), new Harness({ compactionBatch: 100 })];
      for (const each of steps) {
        if (each.type === 'compactStep') one.machine.compactStep();
        else if (each.type === 'crash') {
          two.seal();
          two.crash();
        } else if (each.type !== 'seal' && each.type !== 'range' && each.type !== 'events') {
          const outcomes = [one, two].map((h) => h.apply(each));
          assert.deepEqual(outcomes[0]?.events, outcomes[1]?.events);
        }
      }
      assert.equal(one.machine.storeHash(), two.machine.storeHash());
      assert.deepEqual(one.machine.hashKv(0), two.machine.hashKv(0));
    }),
    { numRuns: 150 },
  );
});
