import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  fromBase64,
  idFromHex,
  idToHex,
  int64FromJson,
  int64ToJson,
  leaseIdFromHex,
  parseDurationMs,
  parseSeconds,
  toBase64,
  toBase64Url,
} from './index.ts';

test('base64 of any bytes comes back from both alphabets, padded or not', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64'));
      assert.deepEqual(fromBase64(text), bytes);
      assert.deepEqual(fromBase64(text.replaceAll('=', '')), bytes);
      assert.deepEqual(fromBase64(toBase64Url(bytes)), bytes);
    }),
  );
});

test('what is not base64 is refused', () => {
  for (const text of ['a', 'abcde', 'ab=c', 'a===', '====', 'ab c', 'äbcd', 'abc=d===', 'ab=', 'abcd=']) {
    assert.equal(fromBase64(text), undefined, text);
  }
  assert.deepEqual(fromBase64(''), new Uint8Array(0));
});

test('ids are 16 hex digits, negative ones as two’s complement', () => {
  assert.equal(idToHex(0x694d5765fc71500bn), '694d5765fc71500b');
  assert.equal(idToHex(-1n), 'ffffffffffffffff');
  assert.equal(idToHex(5n), '0000000000000005');
  assert.equal(leaseIdFromHex('ffffffffffffffff'), -1n);
  assert.equal(idFromHex('ffffffffffffffff'), (1n << 64n) - 1n);
  assert.equal(idFromHex('5'), 5n);
  for (const bad of ['', '0x5', 'g', '-1', '12345678901234567', ' 1'])
    assert.equal(idFromHex(bad), undefined, bad);
  fc.assert(
    fc.property(fc.bigInt(-(1n << 63n), (1n << 63n) - 1n), (id) => leaseIdFromHex(idToHex(id)) === id),
  );
});

test('int64 takes decimal text and safe numbers, and nothing else', () => {
  assert.equal(int64FromJson('-9223372036854775808'), -(1n << 63n));
  assert.equal(int64FromJson(42), 42n);
  assert.equal(int64ToJson(1n << 62n), '4611686018427387904');
  for (const bad of ['9223372036854775808', '1.5', '', '1e3', ' 1', 1.5, 2 ** 53, null, true, {}]) {
    assert.equal(int64FromJson(bad), undefined, String(bad));
  }
});

test('durations', () => {
  assert.equal(parseDurationMs('500ms'), 500);
  assert.equal(parseDurationMs('30s'), 30_000);
  assert.equal(parseDurationMs('1.5m'), 90_000);
  assert.equal(parseDurationMs('1h'), 3_600_000);
  assert.equal(parseSeconds('1500ms'), 2);
  assert.equal(parseSeconds(15), 15);
  for (const bad of ['', '5', 's', '-1s', '1d', '1s ', '1e3s', '0x1s', '1.s', '9999999999999s', '1.2345s']) {
    assert.equal(parseDurationMs(bad), undefined, bad);
  }
  for (const bad of [1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, 'x'])
    assert.equal(parseSeconds(bad), undefined);
});
