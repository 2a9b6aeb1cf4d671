/** The codecs written by hand against the generated ones: the same bytes out, the same values in. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Compare, Event, KeyValue, RequestOp, ResponseHeader, ResponseOp } from '@muster/kv';
import fc from 'fast-check';
import * as rpc from '../gen/rpc_pb.js';
import { type Codec, encode, encodeFramed } from './codec.ts';
import { compactRequest, deleteRangeRequest, putRequest, rangeRequest } from './kv-requests.ts';
import { deleteRangeResponse, headerResponse, putResponse, rangeResponse } from './kv-responses.ts';
import { COMPARE_RESULTS, COMPARE_TARGETS, SORT_ORDERS, SORT_TARGETS, WATCH_FILTERS } from './names.ts';
import { ProtoError } from './proto-reader.ts';
import { txnRequest, txnResponse } from './txn.ts';
import { batchFrame, fragmentFrames, watchRequest, watchResponse } from './watch.ts';

const RUNS = 200;

/** A field that may be absent, and is never its default when it is there. */
const some = <T>(arbitrary: fc.Arbitrary<T>) => ({ arbitrary, optional: true as const });

/** A record whose marked fields may be absent. */
function record(fields: Readonly<Record<string, fc.Arbitrary<unknown> | ReturnType<typeof some>>>) {
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  const requiredKeys: string[] = [];
  for (const [name, field] of Object.entries(fields)) {
    if ('optional' in field) model[name] = field.arbitrary;
    else {
      model[name] = field;
      requiredKeys.push(name);
    }
  }
  return fc.record(model, { requiredKeys: requiredKeys as never[], noNullPrototype: true });
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => new Uint8Array(array));
const someBytes = some(bytes.filter((array) => array.length > 0));
const integer = fc.oneof(
  fc.integer({ min: -3, max: 300 }),
  fc.maxSafeInteger(),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 31, 2 ** 32, -(2 ** 32), 2 ** 35),
);
const someInteger = some(integer.filter((number) => number !== 0));
const natural = integer.map(Math.abs);
const signed = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const unsigned = signed.map((id) => BigInt.asUintN(64, id));
const yes = some(fc.constant(true));

const header = record({
  clusterId: unsigned,
  memberId: unsigned,
  raftTerm: natural,
  revision: some(natural.filter((number) => number > 0)),
}) as fc.Arbitrary<ResponseHeader>;

const keyValue = record({
  key: bytes,
  value: bytes,
  createRevision: natural,
  modRevision: natural,
  version: natural,
  lease: signed,
}) as fc.Arbitrary<KeyValue>;

const event = record({
  type: fc.constantFrom('put', 'delete'),
  kv: keyValue,
  prevKv: some(keyValue),
}) as fc.Arbitrary<Event>;

const range = record({
  key: bytes,
  rangeEnd: someBytes,
  limit: someInteger,
  revision: someInteger,
  sortOrder: some(fc.constantFrom(...SORT_ORDERS.slice(1))),
  sortTarget: some(fc.constantFrom(...SORT_TARGETS.slice(1))),
  serializable: yes,
  keysOnly: yes,
  countOnly: yes,
  minModRevision: someInteger,
  maxModRevision: someInteger,
  minCreateRevision: someInteger,
  maxCreateRevision: someInteger,
});
const put = record({
  key: bytes,
  value: someBytes,
  lease: some(signed.filter((id) => id !== 0n)),
  prevKv: yes,
  ignoreValue: yes,
  ignoreLease: yes,
});
const deleteRange = record({ key: bytes, rangeEnd: someBytes, prevKv: yes });

const operand = fc.oneof(
  record({ kind: fc.constantFrom('version', 'create', 'mod'), number: integer }),
  record({ kind: fc.constant('value'), bytes }),
  record({ kind: fc.constant('lease'), id: signed }),
);
const unknownEnum = fc.constantFrom(9, 77, -1);
const compare = record({
  key: bytes,
  rangeEnd: someBytes,
  result: fc.oneof(fc.constantFrom(...COMPARE_RESULTS), unknownEnum),
  target: fc.oneof(fc.constantFrom(...COMPARE_TARGETS), unknownEnum),
  operand: some(operand),
}) as fc.Arbitrary<Compare>;

const { txn } = fc.letrec((tie) => ({
  op: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant({ type: 'none' }),
    range.map((value) => ({ type: 'range', range: value })),
    put.map((value) => ({ type: 'put', put: value })),
    deleteRange.map((value) => ({ type: 'deleteRange', deleteRange: value })),
    tie('txn').map((value) => ({ type: 'txn', txn: value })),
  ) as fc.Arbitrary<RequestOp>,
  txn: record({
    compare: fc.array(compare, { maxLength: 3 }),
    success: fc.array(tie('op'), { maxLength: 3 }),
    failure: fc.array(tie('op'), { maxLength: 2 }),
  }),
}));

type Headed = { readonly header: ResponseHeader };
const revisionOf = <T extends Headed>(value: T) => ({
  ...value,
  revision: value.header.revision ?? 0,
});
const kvs = fc.array(keyValue, { maxLength: 4 });
const rangeResult = { kvs, more: fc.boolean(), count: natural };
const { responses } = fc.letrec((tie) => ({
  op: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    record({ ...rangeResult, revision: natural }).map((value) => ({ type: 'range', range: value })),
    record({ revision: natural, prevKv: some(keyValue) }).map((value) => ({ type: 'put', put: value })),
    record({ revision: natural, deleted: natural, prevKvs: kvs }).map((value) => ({
      type: 'deleteRange',
      deleteRange: value,
    })),
    record({ revision: fc.constant(0), succeeded: fc.boolean(), responses: tie('responses') }).map(
      (value) => ({ type: 'txn', txn: value }),
    ),
  ) as fc.Arbitrary<ResponseOp>,
  responses: fc.array(tie('op'), { maxLength: 3 }),
}));

const watchCreate = record({
  type: fc.constant('create'),
  watchId: signed,
  fragment: fc.boolean(),
  watch: record({
    key: bytes,
    rangeEnd: someBytes,
    startRevision: someInteger,
    progressNotify: yes,
    prevKv: yes,
    filters: some(fc.array(fc.constantFrom(...WATCH_FILTERS), { minLength: 1, maxLength: 3 })),
  }),
});
const watchStreamRequest = fc.oneof(
  watchCreate,
  record({ type: fc.constant('cancel'), watchId: signed }),
  fc.constant({ type: 'progress' }),
  fc.constant({ type: 'none' }),
);
const watchMessage = record({
  header,
  watchId: signed,
  created: yes,
  canceled: yes,
  fragment: yes,
  compactRevision: someInteger,
  cancelReason: some(fc.string({ minLength: 1, unit: 'grapheme' })),
  events: some(fc.array(event, { minLength: 1, maxLength: 4 })),
});

const TABLE: readonly [string, DescMessage, Codec<never>, fc.Arbitrary<unknown>][] = [
  ['RangeRequest', rpc.RangeRequestSchema, rangeRequest, range],
  ['PutRequest', rpc.PutRequestSchema, putRequest, put],
  ['DeleteRangeRequest', rpc.DeleteRangeRequestSchema, deleteRangeRequest, deleteRange],
  [
    'CompactionRequest',
    rpc.CompactionRequestSchema,
    compactRequest,
    record({ revision: integer, physical: yes }),
  ],
  ['TxnRequest', rpc.TxnRequestSchema, txnRequest, txn],
  [
    'RangeResponse',
    rpc.RangeResponseSchema,
    rangeResponse,
    record({ header, ...rangeResult }).map((value) => revisionOf(value as Headed)),
  ],
  [
    'PutResponse',
    rpc.PutResponseSchema,
    putResponse,
    record({ header, prevKv: some(keyValue) }).map((value) => revisionOf(value as Headed)),
  ],
  [
    'DeleteRangeResponse',
    rpc.DeleteRangeResponseSchema,
    deleteRangeResponse,
    record({ header, deleted: natural, prevKvs: kvs }).map((value) => revisionOf(value as Headed)),
  ],
  [
    'TxnResponse',
    rpc.TxnResponseSchema,
    txnResponse,
    record({ header, succeeded: fc.boolean(), responses }).map((value) => revisionOf(value as Headed)),
  ],
  ['CompactionResponse', rpc.CompactionResponseSchema, headerResponse, record({ header })],
  ['WatchRequest', rpc.WatchRequestSchema, watchRequest, watchStreamRequest],
  ['WatchResponse', rpc.WatchResponseSchema, watchResponse, watchMessage],
] as unknown as [string, DescMessage, Codec<never>, fc.Arbitrary<unknown>][];

describe('codecs by hand', () => {
  for (const [name, schema, codec, arbitrary] of TABLE) {
    test(`${name}: written as the generated code writes it, and read back`, () => {
      fc.assert(
        fc.property(arbitrary, (value) => {
          const encoded = encode(codec, value as never);
          const generated = toBinary(schema, fromBinary(schema, encoded));
          assert.deepEqual(Uint8Array.from(encoded), Uint8Array.from(generated));
          assert.deepEqual(codec.read(Uint8Array.from(encoded)), value);
        }),
        { numRuns: RUNS },
      );
    });

    test(`${name}: bytes that are cut or altered are read or refused, and nothing else`, () => {
      fc.assert(
        fc.property(arbitrary, fc.nat(), fc.nat({ max: 255 }), (value, at, byte) => {
          const encoded = Uint8Array.from(encode(codec, value as never));
          const altered = encoded.slice(0, at % (encoded.length + 1));
          if (altered.length > 0) altered[at % altered.length] = byte;
          try {
            codec.read(altered);
          } catch (error) {
            assert.ok(
              error instanceof Error && ['ProtoError', 'KvError'].includes(error.name),
              String(error),
            );
          }
        }),
        { numRuns: RUNS },
      );
    });
  }
});

const HEAD: ResponseHeader = { clusterId: 5n, memberId: 2n ** 63n, revision: 7, raftTerm: 2 };
const kv = (key: string, size: number): KeyValue => ({
  key: Buffer.from(key),
  value: new Uint8Array(size),
  createRevision: 3,
  modRevision: 7,
  version: 2,
  lease: 0n,
});

describe('what the codecs do beyond the fields', () => {
  test('a codec that throws half-way leaves nothing before the next message', () => {
    const header = { clusterId: 1n, memberId: 2n, revision: 3, raftTerm: 4 };
    const expected = encodeFramed(headerResponse, { header });
    const broken: Codec<unknown> = {
      write(writer) {
        writer.bytes(1, new Uint8Array([1, 2, 3]));
        throw new Error('half-way');
      },
      read: () => undefined,
    };
    assert.throws(() => encode(broken, {}), /half-way/);
    assert.deepEqual(encodeFramed(headerResponse, { header }), expected);
  });

  test('unknown fields of every wire type are skipped, groups too', () => {
    const known = encode(putRequest, { key: Buffer.from('k') });
    const unknown = Buffer.from([
      0x38, 0x96, 1, 0x41, 1, 2, 3, 4, 5, 6, 7, 8, 0x4a, 2, 9, 9, 0x55, 1, 2, 3, 4, 0x5b, 8, 1, 0x5c,
    ]);
    assert.deepEqual(putRequest.read(Uint8Array.from([...unknown, ...known, ...unknown])), {
      key: Uint8Array.from([107]),
    });
  });

  test('a known field of another wire type, a field 0 and an endless number are refused', () => {
    for (const wrong of [
      [0x08, 1],
      [0x02, 1, 1],
      [0x18, ...new Array<number>(11).fill(0xff)],
      [0x0a, 5, 1],
    ]) {
      assert.throws(() => putRequest.read(Uint8Array.from(wrong)), ProtoError);
    }
  });

  test('a revision beyond the safe integers is taken as the nearest', () => {
    const max = Uint8Array.from([0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert.equal(rangeRequest.read(max).revision, Number.MAX_SAFE_INTEGER);
    const min = Uint8Array.from([0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    assert.equal(rangeRequest.read(min).revision, Number.MIN_SAFE_INTEGER);
  });

  test('transactions nested without end are refused', () => {
    let nested = encode(txnRequest, { compare: [], success: [], failure: [] });
    const wrap = (inner: Buffer) => {
      const op = Buffer.concat([Buffer.from([0x22]), varint(inner.length), inner]);
      return Buffer.concat([Buffer.from([0x12]), varint(op.length), op]);
    };
    for (let i = 0; i < 100; i++) nested = wrap(nested);
    assert.throws(() => txnRequest.read(nested), /nested too deep/);
  });

  test('an unknown sort order is INVALID_SORT_OPTION, without a key EMPTY_KEY', () => {
    const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;
    assert.throws(
      () => rangeRequest.read(Uint8Array.from([0x0a, 1, 97, 0x28, 9])),
      code('INVALID_SORT_OPTION'),
    );
    assert.throws(() => rangeRequest.read(Uint8Array.from([0x28, 9])), code('EMPTY_KEY'));
  });

  test('filters come packed or one by one, and unknown ones filter nothing', () => {
    const one = (...filters: number[]) => Uint8Array.from([0x0a, filters.length, ...filters]);
    const filtersOf = (message: Uint8Array) => {
      const request = watchRequest.read(message);
      return request.type === 'create' ? request.watch.filters : [];
    };
    assert.deepEqual(filtersOf(one(0x28, 0, 0x28, 1, 0x28, 9)), ['noput', 'nodelete']);
    assert.deepEqual(filtersOf(one(0x2a, 2, 1, 7)), ['nodelete']);
    assert.equal(filtersOf(one(0x28, 9)), undefined);
  });

  test('a batch is encoded once for watches with the same id, and anew for another', () => {
    const batch = { headerRevision: 7, lastRevision: 7, events: [{ type: 'put', kv: kv('a', 3) } as const] };
    const first = batchFrame(batch, HEAD, 0n);
    assert.equal(batchFrame(batch, { ...HEAD }, 0n), first);
    const expected = encodeFramed(watchResponse, { header: HEAD, watchId: 3n, events: batch.events });
    assert.deepEqual(batchFrame(batch, HEAD, 3n), expected);
  });

  test('fragments: cut below the limit, every event once and in order, all but the last marked', () => {
    const events = Array.from({ length: 10 }, (_, i) => ({ type: 'put', kv: kv(`k${i}`, 400) }) as const);
    const batch = { headerRevision: 7, lastRevision: 7, events };
    const frames = fragmentFrames(batch, HEAD, 1n, 1000);
    const messages = frames.map((frame) => watchResponse.read(Uint8Array.from(frame.subarray(5))));
    assert.ok(frames.length > 1 && frames.every((frame) => frame.length - 5 < 1000));
    assert.deepEqual(
      messages.map(({ fragment }) => fragment ?? false),
      [...frames.slice(1).map(() => true), false],
    );
    assert.deepEqual(
      messages.flatMap((message) => message.events?.map((one) => Buffer.from(one.kv.key).toString()) ?? []),
      events.map((one) => one.kv.key.toString()),
    );
    assert.equal(fragmentFrames(batch, HEAD, 1n, 1e6).length, 1);
  });
});

function varint(length: number): Buffer {
  const out: number[] = [];
  let rest = length;
  for (; rest >= 128; rest >>= 7) out.push((rest & 127) | 128);
  return Buffer.from([...out, rest]);
}
