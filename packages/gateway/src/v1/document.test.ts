import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeFrame, parseClientFrame } from '@muster/contract';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { testV1 } from '../../test/v1-harness.ts';
import { honoPath } from './router.ts';

test('routes and document agree both ways', () => {
  const { v1 } = testV1();
  const routes = new Set(v1.app.routes.filter((r) => r.method !== 'ALL').map((r) => `${r.method} ${r.path}`));
  const documented = [...v1.document.operations.values()].map(
    (o) => `${o.method.toUpperCase()} ${honoPath(o.path)}`,
  );
  assert.deepEqual([...routes].sort(), documented.sort());
});

test('every schema of the document compiles', () => {
  const { v1 } = testV1();
  const compiler = new Ajv2020({ strict: false, validateFormats: false });
  compiler.addSchema(v1.document.root, 'gateway');
  for (const { parameters, bodySchemas } of v1.document.operations.values()) {
    for (const schema of [...parameters.map((p) => p.schema), ...Object.values(bodySchemas)]) {
      compiler.compile(JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"gateway#/')));
    }
  }
});

test('the document is served', async () => {
  const { ask } = testV1();
  const served = (await (await ask('/openapi.json')).json()) as { openapi: string; paths: object };
  assert.equal(served.openapi, '3.1.0');
  assert.ok(Object.keys(served.paths).includes('/v1/kv/{key}'));
});

const schema = JSON.parse(
  readFileSync(new URL('../../../../openapi/ws-frames.v1.schema.json', import.meta.url), 'utf8'),
);
const ajv = new Ajv2020({ strict: false });
ajv.addSchema(schema, 'frames');
const isClientFrame = ajv.compile({ $ref: 'frames#/$defs/ClientFrame' });

test('the frame schema and the parser take and refuse the same frames', () => {
  const id = fc.constantFrom('a', '', 'x y', '~'.repeat(64), 'x'.repeat(65));
  const number = fc.constantFrom(0, 1, -1, 1.5, 2 ** 53, 256, '1', null);
  const key = fc.constantFrom('', 'a', '/x/', 5);
  const kv = fc.record(
    {
      key,
      prefix: key,
      start: key,
      end: key,
      keyBase64: fc.constantFrom('AAA=', '*', ''),
      keysOnly: fc.constantFrom(true, 1),
      only: fc.constantFrom([], ['put'], ['put', 'delete'], ['get'], 'put'),
    },
    { requiredKeys: [] },
  );
  const service = fc.record(
    {
      name: fc.constantFrom('*', 'orders', 'a/b', ''),
      ns: fc.constantFrom('prod', ''),
      status: fc.constantFrom(['up'], ['bad'], []),
      tag: fc.constantFrom(['x'], [''], []),
    },
    { requiredKeys: [] },
  );
  const sel = fc.record({ kv, service, cluster: fc.constantFrom({}, { x: 1 }) }, { requiredKeys: [] });
  const frame = fc.record(
    {
      t: fc.constantFrom('hello', 'sub', 'unsub', 'ack', 'ping', 'progress', 'auth', 'x'),
      id,
      v: number,
      token: fc.constantFrom('abc.1', '', 7),
      n: number,
      rev: number,
      credit: number,
      sel,
      from: fc.constantFrom('ab.1', 'a b', ''),
      snapshot: fc.constantFrom(true, 'yes'),
      coalesce: fc.constantFrom('key', 'all'),
    },
    { requiredKeys: ['t'] },
  );
  // Most random combinations have members of other frames: these are left out half the time.
  const trimmed = fc.tuple(frame, fc.boolean()).map(([f, trim]) => (trim ? only(f) : f));
  let taken = 0;
  fc.assert(
    fc.property(trimmed, (value) => {
      const text = JSON.stringify(value);
      const parsed = parseClientFrame(text);
      if (parsed.ok) taken++;
      assert.equal(parsed.ok, isClientFrame(JSON.parse(text)), `${text} ${JSON.stringify(parsed)}`);
    }),
    { numRuns: 1500 },
  );
  assert.ok(taken > 15, `only ${taken} frames were good: the generator shows little`);
  assert.ok(isClientFrame(JSON.parse(encodeFrame({ t: 'hello', v: 1 }))));
});

const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  hello: ['v'],
  sub: ['id', 'sel', 'from', 'snapshot', 'credit', 'coalesce'],
  unsub: ['id'],
  ack: ['id', 'rev', 'credit'],
  ping: ['n'],
  progress: ['id'],
  auth: ['token'],
  x: [],
};

function only(frame: { t: string }): object {
  const names = ['t', ...(MEMBERS[frame.t] as string[])];
  return Object.fromEntries(Object.entries(frame).filter(([name]) => names.includes(name)));
}
