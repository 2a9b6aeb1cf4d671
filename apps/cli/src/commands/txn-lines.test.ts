import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../failure.ts';
import { bytesOf } from '../range.ts';
import { parseCompare, parseOperation, splitWords } from './txn-lines.ts';

const key = bytesOf('k');

test('comparisons, with all the names etcdctl has for a target', () => {
  assert.deepEqual(parseCompare('mod("k") > "5"'), {
    key,
    target: 'mod',
    result: 'greater',
    operand: { kind: 'mod', number: 5 },
  });
  for (const name of ['val', 'value']) {
    const compare = parseCompare(`${name}("k") = "a \\"b\\"\\x00"`);
    assert.deepEqual(compare.operand, { kind: 'value', bytes: bytesOf('a "b"\0') });
  }
  for (const [name, target] of [
    ['c', 'create'],
    ['create', 'create'],
    ['ver', 'version'],
    ['m', 'mod'],
  ] as const) {
    assert.equal(parseCompare(`${name}("k") != "1"`).target, target);
  }
  assert.deepEqual(parseCompare('lease("k") < "1f"').operand, { kind: 'lease', id: 31n });
});

test('comparisons that are none say why, with exit code 3', () => {
  for (const [line, message] of [
    ['foo("k") = "1"', 'malformed comparison: foo("k") = "1" (unknown target foo)'],
    ['mod("k") ~ "1"', 'malformed comparison: mod("k") ~ "1" (unknown operator ~, expected =, !=, < or >)'],
    ['mod("k") = "x"', 'invalid txn compare request: mod("k") = "x"'],
    ['mod(k) = 1', 'malformed comparison: mod(k) = 1; expected target("key") operator "operand"'],
  ] as const) {
    assert.throws(
      () => parseCompare(line),
      (error) => error instanceof Failure && error.message === message && error.exitCode === 3,
      line,
    );
  }
});

test('operations take the flags of their commands', () => {
  assert.deepEqual(parseOperation('put k "a b" --prev-kv'), {
    type: 'put',
    put: { key, value: bytesOf('a b'), prevKv: true },
  });
  assert.deepEqual(parseOperation("get 'k' --limit 2"), { type: 'range', range: { key, limit: 2 } });
  assert.deepEqual(parseOperation('del --prefix k'), {
    type: 'deleteRange',
    deleteRange: { key, rangeEnd: bytesOf('l') },
  });
  assert.throws(() => parseOperation('post k'), /invalid txn request: post k \(expected put, get or del\)/);
  assert.throws(() => parseOperation('get --bogus k'), /invalid txn request: get --bogus k \(unknown flag/);
  assert.throws(
    () => parseOperation('put k'),
    /put command needs 1 argument and input from stdin or 2 arguments/,
  );
});

test('words are split as a shell would', () => {
  assert.deepEqual(splitWords(`put a "b\\n\\u00e9" 'c "d"' e\\f`), ['put', 'a', 'b\né', 'c "d"', 'e\\f']);
  assert.deepEqual(splitWords('   '), []);
  assert.equal(splitWords('put "a'), undefined);
});
