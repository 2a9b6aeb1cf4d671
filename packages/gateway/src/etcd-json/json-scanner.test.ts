import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonScanner } from './json-scanner.ts';

/** Feeds `text` in pieces of the given sizes and returns what came of it, with the offsets of whole values. */
function scanAll(text: string, pieces: readonly number[]): { values: string[]; end: string } {
  const scanner = new JsonScanner();
  const values: string[] = [];
  let fed = 0;
  let start = 0;
  for (let i = 0; fed < text.length; i++) {
    const next = Math.min(
      text.length,
      fed + Math.max(1, pieces[i % Math.max(1, pieces.length)] ?? text.length),
    );
    let at = fed;
    for (;;) {
      const found = scanner.scan(text.slice(0, next), at);
      if (found.type === 'error') return { values, end: found.text };
      if (found.type === 'more') break;
      values.push(text.slice(start, found.end).trim());
      start = at = found.end;
    }
    fed = next;
  }
  const end = scanner.finish();
  if (end === 'value') values.push(text.slice(start).trim());
  return { values, end };
}

test('a sequence of values is found however it is cut into pieces', () => {
  const separator = fc.constantFrom('', ' ', '\n', '\r\n\t');
  const value = fc.oneof(fc.object(), fc.array(fc.jsonValue())).map((v) => JSON.stringify(v));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(value, separator), { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
      (values, pieces) => {
        const text = values.map(([json, blank]) => json + blank).join('');
        const scanned = scanAll(text, pieces);
        assert.deepEqual(
          scanned.values,
          values.map(([json]) => json),
        );
        assert.equal(scanned.end, 'nothing');
      },
    ),
  );
});

test('what JSON.parse takes is one value, what it refuses is not', () => {
  const alphabet = fc.constantFrom(...'{}[]:,"\\ \n0123456789-+.eEtruefalsn/ub\u0001é'.split(''));
  const texts = fc.oneof(
    fc.array(alphabet, { maxLength: 12 }).map((chars) => chars.join('')),
    fc.jsonValue().chain((value) => {
      const json = JSON.stringify(value);
      return fc.tuple(fc.nat(json.length), alphabet).map(([at, c]) => json.slice(0, at) + c + json.slice(at));
    }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const { values, end } = scanAll(text, [3]);
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      assert.equal(values.length === 1 && (end === 'nothing' || end === 'value'), valid, text);
    }),
    { numRuns: 2000 },
  );
});

test('a number at the top ends only with what follows it', () => {
  assert.deepEqual(scanAll('12 34', [1]), { values: ['12', '34'], end: 'value' });
  assert.deepEqual(scanAll('{}1', [1]), { values: ['{}', '1'], end: 'value' });
  assert.equal(scanAll('{"a"', [2]).end, 'truncated');
  assert.equal(scanAll('1.', [2]).end, 'truncated');
});

test('nesting is bounded as in Go', () => {
  const deep = (n: number): string => '['.repeat(n) + ']'.repeat(n);
  assert.equal(scanAll(deep(10_000), [4096]).end, 'nothing');
  assert.equal(scanAll(deep(10_001), [4096]).end, 'exceeded max depth');
});
