import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyValue, ResponseHeader } from '@muster/kv';
import type { Format } from '../globals.ts';
import { bytesOf } from '../range.ts';
import { memoryIo } from '../testing/memory-io.ts';
import { rangeText, roleText } from './auth-views.ts';
import { memberListView, statusView } from './cluster-views.ts';
import { goJson, goQuote, humanBytes } from './go-text.ts';
import { getView, txnView, watchView } from './kv-views.ts';
import { grantView, timeToLiveView } from './lease-views.ts';
import { printerFor, type View } from './printer.ts';

const header: ResponseHeader = { clusterId: 2n ** 64n - 1n, memberId: 7n, revision: 5, raftTerm: 2 };
const kv: KeyValue = {
  key: bytesOf('a'),
  value: bytesOf('b'),
  createRevision: 2,
  modRevision: 5,
  version: 3,
  lease: 2n ** 62n + 1n,
};
const HEADER_JSON = '{"cluster_id":18446744073709551615,"member_id":7,"revision":5,"raft_term":2}';
const HEADER_FIELDS = '"ClusterID" : 18446744073709551615\n"MemberID" : 7\n"Revision" : 5\n"RaftTerm" : 2\n';

async function printed(format: Format, view: View, hex = false): Promise<string> {
  const io = memoryIo();
  await printerFor(format, hex, io).print(view);
  return io.outText();
}

const get = getView(
  { header, revision: 5, kvs: [kv], more: false, count: 1 },
  { valueOnly: false, countOnly: false },
);

test('64-bit integers are bare and exact, what is empty is left out', async () => {
  assert.equal(
    await printed('json', get),
    `{"header":${HEADER_JSON},"kvs":[{"key":"YQ==","create_revision":2,"mod_revision":5,"version":3,` +
      '"value":"Yg==","lease":4611686018427387905}],"count":1}\n',
  );
});

test('simple, hex and fields', async () => {
  assert.equal(await printed('simple', get), 'a\nb\n');
  assert.equal(await printed('simple', get, true), '\\x61\n\\x62\n');
  assert.equal(
    await printed('fields', get),
    `${HEADER_FIELDS}"Key" : "a"\n"CreateRevision" : 2\n"ModRevision" : 5\n"Version" : 3\n"Value" : "b"\n` +
      '"Lease" : 4611686018427387905\n"More" : false\n"Count" : 1\n',
  );
});

test("protobuf is the message of etcd's own", async () => {
  const io = memoryIo();
  await printerFor('protobuf', false, io).print(get);
  const expected =
    '0a1108ffffffffffffffffff0110071805200212160a01611002180520032a0162308180808080808080402001';
  assert.equal(Buffer.concat(io.chunks).toString('hex'), expected);
});

test('a format that a result does not have is refused', async () => {
  await assert.rejects(printed('table', get), /table not supported as output format/);
});

test('each response of a transaction is wrapped, its header is the revision alone', async () => {
  const view = txnView({
    header,
    revision: 5,
    succeeded: true,
    responses: [
      { type: 'put', put: { revision: 5 } },
      { type: 'deleteRange', deleteRange: { revision: 5, deleted: 1, prevKvs: [] } },
    ],
  });
  assert.equal(
    await printed('json', view),
    `{"header":${HEADER_JSON},"succeeded":true,"responses":[{"Response":{"ResponsePut":{"header":{"revision":5}}}},` +
      '{"Response":{"ResponseDeleteRange":{"header":{"revision":5},"deleted":1}}}]}\n',
  );
  assert.equal(await printed('simple', view), 'SUCCESS\n\nOK\n\n1\n');
});

test('a watch prints type, previous pair and pair; deletions have an empty value', async () => {
  const deleted: KeyValue = {
    key: kv.key,
    value: bytesOf(''),
    createRevision: 0,
    modRevision: 6,
    version: 0,
    lease: 0n,
  };
  const view = watchView(header, [{ type: 'delete', kv: deleted, prevKv: kv }]);
  assert.equal(await printed('simple', view), 'DELETE\na\nb\na\n\n');
  assert.match(
    await printed('json', view),
    /^\{"Header":.*"Events":\[\{"type":1,"kv":\{"key":"YQ==","mod_revision":6\}/,
  );
  assert.equal(await printed('simple', watchView(header, [])), 'progress notify: 5\n');
});

test('leases have their header flattened, and keys null when there are none', async () => {
  const grant = grantView({ header, id: 255n, ttlSeconds: 30 });
  assert.equal(await printed('simple', grant), 'lease 00000000000000ff granted with TTL(30s)\n');
  assert.equal(await printed('json', grant), `${HEADER_JSON.slice(0, -1)},"ID":255,"TTL":30,"Error":""}\n`);
  const gone = timeToLiveView({ header, id: 1n, ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] }, false);
  assert.equal(await printed('simple', gone), 'lease 0000000000000001 already expired\n');
  assert.match(await printed('json', gone), /"id":1,"ttl":-1,"granted-ttl":0,"keys":null\}\n$/);
});

test('tables have heads in the middle and cells to the right', async () => {
  const members = [
    { id: 0xabcn, name: 'n1', peerUrls: ['http://p'], clientUrls: ['http://c'], isLearner: false },
  ];
  assert.equal(
    await printed('table', memberListView({ header, members })),
    '+-----+---------+------+------------+--------------+------------+\n' +
      '| ID  | STATUS  | NAME | PEER ADDRS | CLIENT ADDRS | IS LEARNER |\n' +
      '+-----+---------+------+------------+--------------+------------+\n' +
      '| abc | started |   n1 |   http://p |     http://c |      false |\n' +
      '+-----+---------+------+------------+--------------+------------+\n',
  );
});

test('status: sizes in decimal units, errors as a list', async () => {
  const status = {
    header,
    version: '3.6.0',
    dbSize: 20_480,
    dbSizeInUse: 16_384,
    leader: 7n,
    raftIndex: 9,
    raftTerm: 2,
    raftAppliedIndex: 9,
    errors: [],
    isLearner: false,
    dbSizeQuota: 0,
  };
  assert.equal(
    await printed('simple', statusView([{ endpoint: 'e:1', status }])),
    'e:1, 7, 3.6.0, 20 kB, true, false, 2, 9, 9, \n',
  );
});

test("Go's quoting, JSON escapes and sizes", () => {
  const bytes = Uint8Array.of(
    0x61,
    0,
    0xff,
    10,
    0xe2,
    0x80,
    0xa8,
    0xc3,
    0xa9,
    0xf0,
    0x9f,
    0x98,
    0x80,
    0xed,
    0xa0,
    0x80,
  );
  assert.equal(goQuote(bytes), '"a\\x00\\xff\\n\\u2028é😀\\xed\\xa0\\x80"');
  assert.equal(goJson('<a>&\u2028"'), '"\\u003ca\\u003e\\u0026\\u2028\\""');
  assert.deepEqual([5, 999, 1000, 1550, 20_480, 25_000_000, 2_147_483_648].map(humanBytes), [
    '5 B',
    '999 B',
    '1.0 kB',
    '1.6 kB',
    '20 kB',
    '25 MB',
    '2.1 GB',
  ]);
});

test('permissions name ranges, prefixes and open ends', () => {
  const text = (parts: readonly (string | Uint8Array)[]) =>
    parts.map((part) => Buffer.from(part).toString()).join('');
  assert.equal(text(rangeText(bytesOf('a'), bytesOf('c'), true)), '[a, c)');
  assert.equal(text(rangeText(bytesOf('a'), bytesOf('b'), true)), '[a, b) (prefix a)');
  assert.equal(text(rangeText(bytesOf('a'), Uint8Array.of(0), true)), '[a, <open ended>');
  assert.equal(
    text(
      roleText('r', [
        { type: 'readwrite', key: bytesOf('k') },
        { type: 'write', key: bytesOf('w') },
      ]),
    ),
    'Role r\nKV Read:\n\tk\nKV Write:\n\tk\n\tw\n',
  );
});
