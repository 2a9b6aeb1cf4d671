/**
 * The same requests to the real etcd and to this gateway over the state machine in memory: the answers must be the same but
 * for ids, terms and what the reference's decision table says. Needs Debian's etcd-server; fails without it in CI.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Prng } from '@muster/base';
import { WebSocket } from 'ws';
import { debianProgram } from '../../../../test/support/debian.ts';
import { type EtcdProcess, startEtcd } from '../../../../test/support/etcd.ts';
import { Comparison, normal, normalLine, type Step } from '../../test/comparison.ts';
import {
  type Answer,
  type Ask,
  ask,
  RawStream,
  startServer,
  type TestServer,
} from '../../test/gateway-harness.ts';

const etcdBinary = debianProgram('etcd', 'etcd-server');

let etcd: EtcdProcess;
let etcdPort: number;
let ours: TestServer;
let both: Comparison;

const b64 = (text: string): string => Buffer.from(text).toString('base64');

const compare = (path: string, request: Ask): Promise<Answer> => both.compare(path, request);

const compareAll = (steps: readonly Step[]): Promise<void> => both.all(steps);

describe('etcd and this gateway', { skip: etcdBinary === undefined }, () => {
  before(async () => {
    etcd = await startEtcd(etcdBinary as string);
    etcdPort = Number(new URL(etcd.url).port);
    ours = await startServer();
    both = new Comparison(etcdPort, ours.port);
  });

  after(async () => {
    await ours?.stop();
    await etcd?.stop();
  });

  test('the examples of the reference', async () => {
    const kv = (name: string) => `/v3/kv/${name}`;
    await compareAll([
      [kv('range'), '{"key":"Zm9v"}'],
      [kv('put'), '{"key":"Zm9v","value":"YmFy"}'],
      [kv('put'), '{"key":"Zm9v","value":"YmF6","prev_kv":true}'],
      [kv('range'), '{"key":"AA==","range_end":"AA==","count_only":true}'],
      [kv('range'), '{"key":"Zm9v","revision":"99"}'],
      [
        kv('txn'),
        '{"compare":[{"key":"Zm9v","target":"MOD","mod_revision":"3"}],"success":[{"request_put":{"key":"Yg==","value":"MQ=="}},{"request_range":{"key":"Yg=="}},{"request_delete_range":{"key":"bm8="}},{"request_txn":{}}]}',
      ],
      [kv('txn'), '{}'],
      [kv('txn'), '{"compare":[{"key":"Zm9v","version":"9"}]}'],
      [kv('deleterange'), '{"key":"bm8="}'],
      ['/v3/lease/grant', '{"TTL":"60","ID":"7"}'],
      ['/v3/lease/grant', '{"TTL":"60","ID":"7"}'],
      ['/v3/lease/grant', '{"TTL":"5","ID":"-8"}'],
      ['/v3/lease/grant', '{"TTL":"9000000001"}'],
      [kv('put'), '{"key":"bA==","lease":"7"}'],
      [kv('range'), '{"key":"bA=="}'],
      ['/v3/lease/timetolive', '{"ID":"99"}'],
      ['/v3/kv/lease/timetolive', '{"ID":"99","keys":true}'],
      ['/v3/lease/keepalive', '{"ID":"7"}'],
      ['/v3/lease/keepalive', '{"ID":"99"}'],
      ['/v3/lease/keepalive', '{"ID":"7"} {"ID":"99"}\n{"ID":7}'],
      ['/v3/lease/keepalive', ''],
      ['/v3/lease/revoke', '{"ID":"99"}'],
      ['/v3/kv/lease/revoke', '{"ID":"7"}'],
      [kv('range'), '{"key":"bA=="}'],
      ['/v3beta/lease/leases', '{}'],
      [kv('lease/leases'), ''],
      [kv('compaction'), '{"revision":"3","physical":true}'],
      [kv('compaction'), '{"revision":3}'],
      [kv('compaction'), '{"revision":"333"}'],
      [kv('range'), '{"key":"Zm9v","revision":2}'],
      [kv('range'), '{"key":"Zm9v","revision":3}'],
    ]);
    const { json } = await compare('/v3/lease/grant', { body: '{"TTL":"100","ID":"70"}' });
    assert.equal((json as { TTL: string }).TTL, '100');
    const [theirs, mine] = await Promise.all(
      [etcdPort, ours.port].map((port) =>
        ask(port, '/v3/lease/timetolive', { body: '{"ID":"70","keys":true}' }),
      ),
    );
    for (const answer of [theirs, mine]) {
      assert.match(answer?.text ?? '', /"ID":"70","TTL":"(99|100)","grantedTTL":"100"}$/);
    }
  });

  test('requests that cannot be read, and those that only look so', async () => {
    for (const body of ODD_BODIES) await compare('/v3/kv/range', { body });
    const txns = [
      '{"compare":{}}',
      '{"compare":[{}]}',
      '{"success":[{}]}',
      '{"compare":null,"success":null}',
      '{"compare":[1]}',
      '{"compare":"x"}',
      '{"success":[{"request_put":null}]}',
      '{"compare":[{"key":"YQ==","result":"NOT_EQUAL","target":"LEASE","lease":"x"}]}',
      '{"compare":[{"key":"YQ==","result":77,"target":99}]}',
      '{"success":[{"requestPut":{"key":"b2Rk","value":"YQ=="}}]}',
      '{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}',
      JSON.stringify({ success: Array.from({ length: 129 }, () => ({ request_range: { key: 'YQ==' } })) }),
    ];
    for (const body of txns) await compare('/v3/kv/txn', { body });
    const puts = [
      '{"value":"YQ=="}',
      '{"key":"YQ==","value":"YQ==","ignore_value":true}',
      '{"key":"bm8=","ignoreValue":true}',
      '{"key":"YQ==","lease":"1","ignore_lease":true}',
      '{"key":"YQ==","lease":"12345"}',
      '{"key":"YQ==","lease":9223372036854775807}',
      '{"key":"YQ==","value":"Kg==","prev_kv":"yes"}',
    ];
    for (const body of puts) await compare('/v3/kv/put', { body });
    for (const body of [
      '{x',
      '{"ID":"x"}',
      '{"ID":"7"}{',
      '{"ID":"7"}{"ID":"8"} x{"ID":"9"}',
      'null',
      '[]',
    ]) {
      await compare('/v3/lease/keepalive', { body });
    }
    for (const body of ['{', '{"create_request":{"key":"*"}}', '{"create_request":[]}']) {
      await compare('/v3/watch', { body });
    }
  });

  test('JSON that was damaged at random places', async () => {
    const prng = new Prng(`damage ${process.env.SEED ?? 1}`);
    const alphabet = '{}[]:,"\\ \n01-.eEtfnxA=+/é';
    const sources = [
      '{"key":"Zm9vYmFy","range_end":"Zm9vYg==","limit":"12","sort_order":"ASCEND","serializable":true}',
      '{"key":[1,2,255],"limit":-12,"revision":0,"keys_only":false,"wat":[null,{"a":1.5e3}]}',
    ];
    for (let i = 0; i < 400; i++) {
      const source = prng.pick(sources);
      const at = prng.int(0, source.length - 1);
      const cut = prng.int(0, 2);
      const put = Array.from({ length: prng.int(0, 2) }, () => prng.pick([...alphabet])).join('');
      const body = source.slice(0, at) + put + (prng.chance(0.1) ? '' : source.slice(at + cut));
      await compare('/v3/kv/range', { body: body.replace('"DESCEND', '"') });
    }
  });

  test('paths, methods and headers', async () => {
    const steps: readonly (readonly [string, string, Ask?])[] = [
      ['GET', '/v3/kv/range'],
      ['PUT', '/v3/kv/range'],
      ['POST', '/v3/nothing'],
      ['POST', '/v3/kv/range/'],
      ['POST', '/v3alpha/kv/range'],
      ['POST', '/v3x'],
      ['GET', '/v3/'],
      ['GET', '/'],
      ['GET', '/nope'],
      ['POST', '/nope'],
      ['OPTIONS', '/v3/kv/range'],
      ['OPTIONS', '/nope'],
      ['POST', '/health'],
      ['POST', '/version'],
      ['POST', '/v3/kv/range?x=1', { body: '{"key":"Zm9v"}' }],
      ['POST', '/v3/kv/%72ange', { body: '{"key":"Zm9v"}' }],
      ['POST', '/v3/kv/range', { headers: { 'Grpc-Timeout': '1x' } }],
      ['POST', '/v3/kv/range', { headers: { 'Grpc-Timeout': 'S' } }],
      ['POST', '/v3/kv/range', { headers: { 'Grpc-Timeout': '5S' }, body: '{"key":"Zm9v"}' }],
      [
        'POST',
        '/v3/kv/range',
        { headers: { 'Content-Type': 'text/xml', Accept: 'x/y' }, body: '{"key":"Zm9v"}' },
      ],
      ['POST', '/v3/kv/range', { headers: { Origin: 'https://a.example' }, body: '{"key":"Zm9v"}' }],
    ];
    for (const [method, path, request] of steps) await compare(path, { ...request, method });
    for (const port of [etcdPort, ours.port]) {
      const { status, headers, text } = await ask(port, '/v3', { method: 'GET' });
      assert.deepEqual([status, headers.location], [301, '/v3/'], text);
    }
  });

  test('a thousand random operations', async () => {
    const seed = `operations ${process.env.SEED ?? 1}`;
    const prng = new Prng(seed);
    for (let i = 0; i < 1000; i++) {
      const [path, request] = randomCall(prng);
      await compare(`/v3/${path}`, { body: JSON.stringify(request) }).catch((error) => {
        error.message += `\noperation ${i} of seed ${seed}`;
        throw error;
      });
    }
  });

  test('watch streams', async () => {
    const created = { create_request: { key: b64('w/'), range_end: b64('w0') } };
    const streams = [new RawStream(ours.port, '/v3/watch')];
    // etcd's HTTP/1.1 side answers only when the request has ended, so its messages go in one body.
    const inputs = [
      created,
      { create_request: { ...created.create_request, prev_kv: true, filters: ['NOPUT'], watch_id: '5' } },
      { create_request: { ...created.create_request, watch_id: '5' } },
      { create_request: { key: b64('b'), range_end: b64('a') } },
      { cancel_request: { watch_id: '77' } },
      {},
      { create_request: { key: b64('w/'), start_revision: '1' } },
      { create_request: { key: b64('w/'), start_revision: '1000000' } },
      { cancel_request: { watch_id: '5' } },
    ];
    streams.push(new RawStream(etcdPort, '/v3/watch'));
    for (const stream of streams) {
      for (const input of inputs) stream.send(JSON.stringify(input));
      stream.endInput();
    }
    await Promise.all(streams.map((stream) => stream.count(8)));
    await compare('/v3/kv/put', { body: JSON.stringify({ key: b64('w/1'), value: b64('a') }) });
    const txn = ['w/1', 'w/2'].map((key) => ({ request_put: { key: b64(key), value: b64('b') } }));
    await compare('/v3/kv/txn', { body: JSON.stringify({ success: txn }) });
    await compare('/v3/kv/deleterange', { body: JSON.stringify({ key: b64('w/1') }) });
    await Promise.all(streams.map((stream) => stream.count(11)));
    const [mine, theirs] = streams.map((stream) => byWatch(stream.results.map((line) => normal(line))));
    assert.deepEqual(mine, theirs);
    for (const stream of streams) stream.close();
  });

  test('WebSockets', async () => {
    const cases: readonly (readonly [path: string, frames: readonly string[], count: number])[] = [
      ['/v3/kv/range', ['{"key":"Zm9v"}'], 1],
      ['/v3/kv/range?method=GET', ['{"key":', '"Zm9v"}'], 1],
      ['/v3/kv/range', ['{x'], 1],
      ['/v3/nothing', ['{}'], 1],
      ['/v3beta/lease/keepalive', ['{"ID":"99"}', '{"ID":"98"}{"ID":"97"}'], 3],
      ['/v3/watch', ['{"create_request":{"key":"Zm9v"}}', 'x', '{"create_request":{"key":"Zm9v"}}'], 1],
    ];
    for (const [path, frames, count] of cases) {
      const [theirs, mine] = await Promise.all(
        [etcdPort, ours.port].map((port) => talk(port, path, frames, count)),
      );
      assert.deepEqual(mine, theirs, path);
    }
  });
});

/** Opens a socket, sends, and returns what came: the first `count` frames, and whether the server hung up then. */
async function talk(port: number, path: string, frames: readonly string[], count: number): Promise<unknown> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  const received: unknown[] = [];
  const code = await new Promise<number | undefined>((resolve, reject) => {
    ws.on('open', () => {
      for (const frame of frames) ws.send(frame);
    });
    ws.on('error', reject);
    ws.on('close', (closeCode) => resolve(closeCode));
    ws.on('message', (data, isBinary) => {
      const text = String(data);
      received.push([isBinary, normalLine(text)]);
      // Streams stay open; unary calls are ended by the server.
      if (received.length === count && !path.includes('/kv/') && !path.includes('nothing'))
        resolve(undefined);
    });
  });
  ws.terminate();
  return { code, received };
}

/** Between watches of one stream there is no order. */
function byWatch(lines: readonly unknown[]): Record<string, unknown[]> {
  const out: Record<string, unknown[]> = {};
  for (const line of lines) {
    const { result } = line as { result: { watch_id?: string } };
    (out[result.watch_id ?? '0'] ??= []).push(result);
  }
  return out;
}

function randomCall(prng: Prng): [string, object] {
  const key = () => b64(prng.pick(['a', 'ab', 'b', 'c', 'c\u0000', 'd']));
  const maybe = (fields: object, chance = 0.5) => (prng.chance(chance) ? fields : {});
  const range = () => ({
    key: prng.chance(0.05) ? '' : key(),
    ...maybe({ range_end: prng.pick([key(), 'AA==']) }, 0.7),
    ...maybe({ limit: prng.int(-1, 3) }),
    ...maybe({ sort_order: prng.int(1, 2), sort_target: prng.pick(['KEY', 'CREATE', 'MOD']) }, 0.3),
    ...maybe({ serializable: true }),
    ...maybe({ keys_only: true }, 0.2),
    ...maybe({ count_only: true }, 0.1),
    ...maybe({ min_mod_revision: prng.int(0, 300) }, 0.1),
    ...maybe({ max_create_revision: String(prng.int(0, 300)) }, 0.1),
  });
  const put = () => ({
    key: prng.chance(0.03) ? '' : key(),
    ...maybe({ value: b64(prng.pick(['', 'v', '<&>', 'é\u2028'])) }, 0.8),
    ...maybe({ prev_kv: true }),
    // With both of them wrong, etcd's own order of checks differs between a put and a put within a txn.
    ...prng.pick([{}, {}, {}, { ignore_value: true }, { lease: prng.pick(['70', 70, '71']) }]),
  });
  const deleteRange = () => ({ key: key(), ...maybe({ range_end: key() }), ...maybe({ prev_kv: true }) });
  const compare = () => ({
    key: key(),
    target: prng.int(0, 4),
    result: prng.pick(['EQUAL', 'GREATER', 'LESS', 'NOT_EQUAL']),
    ...prng.pick([{ version: prng.int(0, 2) }, { mod_revision: '5' }, { value: b64('v') }, { lease: 70 }]),
    ...maybe({ range_end: key() }, 0.2),
  });
  const op = (depth: number): object => {
    const pick = prng.int(0, depth > 0 ? 3 : 2);
    if (pick === 0) return { request_range: range() };
    if (pick === 1) return { request_put: put() };
    return pick === 2 ? { request_delete_range: deleteRange() } : { request_txn: txn(depth - 1) };
  };
  const list = (make: () => object) => Array.from({ length: prng.int(0, 3) }, make);
  const txn = (depth: number): object => ({
    compare: list(compare),
    success: list(() => op(depth)),
    failure: list(() => op(depth)),
  });
  const call = prng.int(0, 9);
  if (call < 3) return ['kv/range', { ...range(), ...maybe({ revision: prng.int(-1, 400) }, 0.2) }];
  if (call < 6) return ['kv/put', put()];
  return call < 7 ? ['kv/deleterange', deleteRange()] : ['kv/txn', txn(2)];
}

const ODD_BODIES: readonly string[] = [
  '',
  '   ',
  'null',
  '[]',
  '"x"',
  '1',
  'true',
  '{',
  '{"key":"Zm9v"}x',
  '{}x',
  '{"key":"Zm9v"}{"key":"*"}',
  '{"key":"*","key":"Zm9v"}',
  '{"Key":"Zm9v"}',
  '{"key":"Zm9v","rangeEnd":"Zm9w","range_end":"*"}',
  '{"key":"Zm\\n9v"}',
  '{"key":"Zm\\u0039v"}',
  '{"key":"Zm9v\\r\\n=="}',
  '{"key":"Zg\\n=\\n=\\n"}',
  '{"key":"Zg==\\nA"}',
  '{"key":"Zg=A"}',
  '{"key":"Zg=\\n"}',
  '{"key":"Z"}',
  '{"key":"Zm9vZ"}',
  '{"key":"Zm9vZ\\n"}',
  '{"key":"é"}',
  '{"key":"Zm9é"}',
  '{"key":[102,111,111]}',
  '{"key":[1.5]}',
  '{"key":[null]}',
  '{"key":"Zm9v","limit":" 5 "}',
  '{"key":"Zm9v","limit":"+5"}',
  '{"key":"Zm9v","limit":"05"}',
  '{"key":"Zm9v","limit":-0}',
  '{"key":"Zm9v","limit":1E400}',
  '{"key":"Zm9v","limit":123456789012345678901234567890}',
  '{"key":"Zm9v","limit":"null"}',
  '{"key":"Zm9v","limit":"\\"5\\""}',
  '{"key":"Zm9v","sort_order":null}',
  '{"key":"Zm9v","sort_order":"<&>"}',
  '{"key":"Zm9v","serializable":null}',
  '{"key":"\\ud800"}',
  '{"a":"\\ud800\\udc00","key":"Zm9v"}',
  '\ufeff{"key":"Zm9v"}',
  '{"__proto__":{"key":"Zm9v"},"constructor":1}',
];
