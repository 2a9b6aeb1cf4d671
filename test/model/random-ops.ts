import { utf8 } from '@muster/base';
import type { Compare, RequestOp, TxnRequest, WatchFilter } from '@muster/kv';
import fc from 'fast-check';

/** One step of a random run. Revisions are told as how far back from the current one, so that they mean something. */
export type Step =
  | {
      readonly type: 'range';
      readonly op: Extract<RequestOp, { type: 'range' }>['range'];
      readonly back?: number;
    }
  | { readonly type: 'put'; readonly op: Extract<RequestOp, { type: 'put' }>['put'] }
  | { readonly type: 'deleteRange'; readonly op: Extract<RequestOp, { type: 'deleteRange' }>['deleteRange'] }
  | { readonly type: 'txn'; readonly op: TxnRequest }
  | { readonly type: 'compact'; readonly back: number; readonly physical: boolean }
  | { readonly type: 'grant' | 'revoke' | 'keepAlive' | 'timeToLive'; readonly id: bigint }
  | { readonly type: 'leases' }
  | { readonly type: 'restart' }
  | { readonly type: 'space'; readonly full: boolean }
  | {
      readonly type: 'watch';
      readonly key: Uint8Array;
      readonly rangeEnd?: Uint8Array;
      readonly back?: number;
      readonly filters: readonly WatchFilter[];
      readonly prevKv: boolean;
    };

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const text = (...words: string[]) => fc.constantFrom(...words).map(utf8);

const key = text('a', 'a', 'ab', 'b', 'c', '\0', 'zz');
const keyOrNone = fc.oneof({ weight: 30, arbitrary: key }, { weight: 1, arbitrary: text('') });
const rangeEnd = maybe(text('', 'b', 'c', 'zzz', '\0', 'a'));
const value = text('', 'x', 'xy', 'z');
const leaseId = fc.constantFrom(0n, 0n, 1n, 2n, 3n, -4n);
const small = fc.integer({ min: -1, max: 4 });
const revision = fc.integer({ min: 1, max: 12 });

/** Leaves out what is `undefined`, as exact optional properties want it. */
function compacted<T extends object>(record: fc.Arbitrary<T>) {
  return record.map((given) => {
    const entries = Object.entries(given).filter(([, member]) => member !== undefined);
    return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
  });
}

const rangeOp = compacted(
  fc.record({
    key: keyOrNone,
    rangeEnd,
    limit: maybe(small),
    sortOrder: maybe(fc.constantFrom('none', 'ascend', 'descend')),
    sortTarget: maybe(fc.constantFrom('key', 'version', 'create', 'mod', 'value')),
    keysOnly: maybe(fc.boolean()),
    countOnly: maybe(fc.constantFrom(false, false, true)),
    serializable: maybe(fc.boolean()),
    minModRevision: maybe(fc.constantFrom(0, 0, 3, 8)),
    maxModRevision: maybe(fc.constantFrom(0, 0, 5, 20)),
    minCreateRevision: maybe(fc.constantFrom(0, 0, 3)),
    maxCreateRevision: maybe(fc.constantFrom(0, 0, 9)),
  }),
) as fc.Arbitrary<Extract<RequestOp, { type: 'range' }>['range']>;

const putOp = compacted(
  fc.record({
    key: keyOrNone,
    value: maybe(value),
    lease: maybe(leaseId),
    prevKv: maybe(fc.boolean()),
    ignoreValue: maybe(fc.constantFrom(false, false, true)),
    ignoreLease: maybe(fc.constantFrom(false, false, true)),
  }),
) as fc.Arbitrary<Extract<RequestOp, { type: 'put' }>['put']>;

const deleteOp = compacted(
  fc.record({ key: keyOrNone, rangeEnd, prevKv: maybe(fc.boolean()) }),
) as fc.Arbitrary<Extract<RequestOp, { type: 'deleteRange' }>['deleteRange']>;

const operand = fc.oneof(
  fc.record({ kind: fc.constantFrom('version', 'create', 'mod'), number: fc.integer({ min: 0, max: 6 }) }),
  fc.record({ kind: fc.constant('value' as const), bytes: value }),
  fc.record({ kind: fc.constant('lease' as const), id: leaseId }),
);

const compare = compacted(
  fc.record({
    key: keyOrNone,
    rangeEnd: maybe(rangeEnd),
    result: fc.constantFrom('equal', 'greater', 'less', 'notEqual', 9),
    target: fc.constantFrom('version', 'create', 'mod', 'value', 'lease', 9),
    operand: maybe(operand),
  }),
) as fc.Arbitrary<Compare>;

const ops = fc.letrec<{ op: RequestOp; txn: TxnRequest }>((tie) => ({
  op: fc.oneof(
    { maxDepth: 2, depthIdentifier: 'txn' },
    fc.record({ type: fc.constant('put' as const), put: putOp }),
    fc.record({ type: fc.constant('put' as const), put: putOp }),
    fc
      .tuple(rangeOp, maybe(revision))
      .map(([range, at]): RequestOp => ({ type: 'range', range: at ? { ...range, revision: at } : range })),
    fc.record({ type: fc.constant('deleteRange' as const), deleteRange: deleteOp }),
    fc.record({ type: fc.constant('txn' as const), txn: tie('txn') }),
  ),
  txn: fc.record({
    compare: fc.array(compare, { maxLength: 2 }),
    success: fc.array(tie('op'), { maxLength: 3 }),
    failure: fc.array(tie('op'), { maxLength: 2 }),
  }),
}));

const watch = compacted(
  fc.record({
    type: fc.constant('watch' as const),
    key: fc.oneof(key, text('')),
    rangeEnd: maybe(text('zzz', '\0', 'c')),
    back: maybe(fc.integer({ min: -3, max: 30 })),
    filters: fc.constantFrom<WatchFilter[]>([], [], ['noput'], ['nodelete']),
    prevKv: fc.boolean(),
  }),
) as fc.Arbitrary<Step>;

const back = fc.integer({ min: -2, max: 8 });

/** A step, writes more often than the rest. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ type: fc.constant('put' as const), op: putOp }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('deleteRange' as const), op: deleteOp }) },
  { weight: 10, arbitrary: ops.txn.map((op): Step => ({ type: 'txn', op })) },
  {
    weight: 8,
    arbitrary: fc
      .tuple(rangeOp, maybe(back))
      .map(([op, at]): Step => (at === undefined ? { type: 'range', op } : { type: 'range', op, back: at })),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('compact' as const), back, physical: fc.boolean() }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom('grant', 'grant', 'revoke', 'keepAlive', 'timeToLive'),
      id: leaseId.map((id) => id || 5n),
    }) as fc.Arbitrary<Step>,
  },
  { weight: 1, arbitrary: fc.constant<Step>({ type: 'leases' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ type: 'restart' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(true, false, false).map((full): Step => ({ type: 'space', full })),
  },
  { weight: 5, arbitrary: watch },
);
