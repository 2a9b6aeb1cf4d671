import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkSelection, encodeFrame, parseClientFrame, parseServerFrame } from './index.ts';

const good = [
  { t: 'hello', v: 1 },
  { t: 'hello', v: 1, client: 'page' },
  { t: 'sub', id: 'a', sel: { kv: { prefix: '/x/' } }, snapshot: true, credit: 10, coalesce: 'key' },
  { t: 'sub', id: 'b', sel: { kv: { start: 'a', end: 'b', only: ['put'] } }, from: 'abc.12' },
  { t: 'sub', id: 'c', sel: { kv: { keyBase64: '/wA=' } } },
  { t: 'sub', id: 'd', sel: { service: { name: '*', status: ['up'] } } },
  { t: 'sub', id: 'e', sel: { cluster: {} } },
  { t: 'unsub', id: 'a' },
  { t: 'ack', id: 'a', rev: 12, credit: 100 },
  { t: 'ping', n: 0 },
  { t: 'progress' },
  { t: 'auth', token: 'abc.7' },
] as const;

test('every frame of the protocol parses to itself', () => {
  for (const frame of good) {
    const parsed = parseClientFrame(encodeFrame(frame));
    assert.ok(parsed.ok, JSON.stringify([frame, parsed]));
    assert.deepEqual(parsed.frame, frame);
  }
});

test('a frame that is not in the protocol is refused, saying where and what was expected', () => {
  const bad: [string, string, RegExp][] = [
    ['', '', /JSON/],
    ['{', '', /JSON/],
    ['[]', '', /object/],
    ['null', '', /object/],
    ['{}', '/t', /hello/],
    ['{"t":"toString"}', '/t', /one of/],
    ['{"t":"hello"}', '/v', /this member/],
    ['{"t":"hello","v":"1"}', '/v', /whole number/],
    ['{"t":"hello","v":1,"x":1}', '/x', /one of the members/],
    ['{"t":"ping","n":1e400}', '/n', /whole number/],
    ['{"t":"ping","n":-1}', '/n', /whole number/],
    ['{"t":"ack","id":"a","rev":9007199254740993}', '/rev', /whole number/],
    ['{"t":"ack","id":"","rev":1}', '/id', /printable/],
    [`{"t":"ack","id":"${'x'.repeat(65)}","rev":1}`, '/id', /printable/],
    ['{"t":"sub","id":"a"}', '/sel', /this member/],
    ['{"t":"sub","id":"a","sel":{}}', '/sel', /exactly one/],
    ['{"t":"sub","id":"a","sel":{"kv":{},"cluster":{}}}', '/sel/kv', /exactly one/],
    ['{"t":"sub","id":"a","sel":{"kv":{"key":"a","prefix":"b"}}}', '/sel/kv', /exactly one/],
    ['{"t":"sub","id":"a","sel":{"kv":{"prefix":"a","end":"b"}}}', '/sel/kv/end', /start/],
    ['{"t":"sub","id":"a","sel":{"kv":{"keyBase64":"***"}}}', '/sel/kv/keyBase64', /base64/],
    ['{"t":"sub","id":"a","sel":{"kv":{"prefix":"a","only":["get"]}}}', '/sel/kv/only/0', /put, delete/],
    ['{"t":"sub","id":"a","sel":{"service":{"name":"a/b"}}}', '/sel/service/name', /service name/],
    ['{"t":"sub","id":"a","sel":{"cluster":{"x":1}}}', '/sel/cluster/x', /members/],
    ['{"t":"sub","id":"a","sel":{"kv":{"prefix":"a"}},"from":"a b"}', '/from', /cursor/],
    ['{"t":"sub","id":"a","sel":{"kv":{"prefix":"a"}},"credit":0}', '/credit', /whole number/],
    ['{"t":"__proto__"}', '/t', /one of/],
    ['{"t":"ping","n":1,"__proto__":{}}', '/__proto__', /one of the members/],
  ];
  for (const [text, pointer, expected] of bad) {
    const parsed = parseClientFrame(text);
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.pointer, pointer, text);
    assert.match(parsed.expected, expected, text);
  }
});

test('parsing never throws, whatever comes', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((j) => `{"t":"sub","id":"a","sel":${j}}`),
      ),
      (text) => {
        parseClientFrame(text);
        parseServerFrame(text);
      },
    ),
  );
});

test('a server frame of an unknown kind is ignored, one that lacks what is relied on is refused', () => {
  assert.deepEqual(parseServerFrame('{"t":"new","x":1}'), { ok: true, frame: undefined });
  assert.deepEqual(parseServerFrame('{"t":"pong","n":1,"more":2}'), {
    ok: true,
    frame: { t: 'pong', n: 1, more: 2 },
  });
  for (const text of [
    '{"t":"ev","rev":1}',
    '{"t":"snap","rev":"1","items":[],"more":false}',
    '{"t":1}',
    '7',
    'x',
  ]) {
    assert.equal(parseServerFrame(text).ok, false, text);
  }
});

test('a selection alone is checked the same way', () => {
  assert.equal(checkSelection({ service: { name: 'orders' } }).ok, true);
  assert.deepEqual(checkSelection({ service: { name: 'orders', zone: '' } }), {
    ok: false,
    pointer: '/service/zone',
    expected: 'text of 1 to 128 characters',
  });
});
