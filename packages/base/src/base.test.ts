import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  backoffDelayMs,
  binaryString,
  compareBytes,
  crc32c,
  fromBinaryString,
  ManualClock,
  Prng,
  prefixEnd,
  startsWithBytes,
  utf8,
  utf8Text,
  utf8TextOrUndefined,
} from './index.ts';

const bytes = () => fc.uint8Array({ maxLength: 40 });

test('crc32c gives the published check value of "123456789"', () => {
  assert.equal(crc32c(utf8('123456789')), 0xe3069283);
});

test('crc32c of two parts chained equals that of the whole', () => {
  fc.assert(
    fc.property(bytes(), bytes(), (a, b) => {
      const whole = new Uint8Array([...a, ...b]);
      assert.equal(crc32c(b, crc32c(a)), crc32c(whole));
      assert.equal(crc32c(whole, crc32c(a), a.length), crc32c(whole));
    }),
  );
});

test('compareBytes orders as Buffer does, and binary strings order alike', () => {
  fc.assert(
    fc.property(bytes(), bytes(), (a, b) => {
      const expected = Buffer.compare(a, b);
      assert.equal(Math.sign(compareBytes(a, b)), expected);
      const [x, y] = [binaryString(a), binaryString(b)];
      assert.equal(x < y ? -1 : x > y ? 1 : 0, expected);
      assert.deepEqual(fromBinaryString(x), a);
    }),
  );
});

test('prefixEnd is the least key above every key with the prefix', () => {
  fc.assert(
    fc.property(bytes(), bytes(), (prefix, key) => {
      const end = prefixEnd(prefix);
      const open = end.length === 1 && end[0] === 0;
      const inside = compareBytes(key, prefix) >= 0 && (open || compareBytes(key, end) < 0);
      assert.equal(inside, startsWithBytes(key, prefix) || (open && compareBytes(key, prefix) >= 0));
    }),
  );
  assert.deepEqual(prefixEnd(new Uint8Array([0x61, 0xff])), new Uint8Array([0x62]));
  assert.deepEqual(prefixEnd(new Uint8Array([0xff])), new Uint8Array([0]));
});

test('utf8TextOrUndefined is a round trip on valid text and undefined on anything else', () => {
  assert.equal(utf8TextOrUndefined(new Uint8Array([0xc3, 0x28])), undefined);
  assert.equal(utf8TextOrUndefined(utf8('\ufeffx')), '\ufeffx');
  fc.assert(
    fc.property(bytes(), (b) => {
      const text = utf8TextOrUndefined(b);
      if (text !== undefined) assert.deepEqual(utf8(text), b);
      else assert.notDeepEqual(utf8(utf8Text(b)), b);
    }),
  );
});

test('Prng repeats from its seed and differs between seeds', () => {
  const take = (seed: number) => {
    const prng = new Prng(seed);
    return Array.from({ length: 20 }, () => prng.int(0, 1000));
  };
  assert.deepEqual(take(7), take(7));
  assert.notDeepEqual(take(7), take(8));
  const prng = new Prng(1);
  const counts = [0, 0, 0];
  for (let i = 0; i < 30_000; i++) counts[prng.int(0, 2)]!++;
  for (const count of counts) assert.ok(count > 9000, `skewed: ${counts}`);
});

test('backoff grows to its bound and never passes it', () => {
  const prng = new Prng(3);
  for (let attempt = 0; attempt < 100; attempt++) {
    const delay = backoffDelayMs({ firstMs: 50, maxMs: 2000 }, attempt, prng);
    assert.ok(delay >= 25 && delay <= 2000, String(delay));
  }
});

test('ManualClock runs timers in order of time and cancels', () => {
  const clock = new ManualClock();
  const ran: string[] = [];
  clock.schedule(20, () => ran.push(`b@${clock.nowMs()}`));
  clock.schedule(10, () => {
    ran.push(`a@${clock.nowMs()}`);
    clock.schedule(5, () => ran.push(`c@${clock.nowMs()}`));
  });
  clock.cancel(clock.schedule(1, () => ran.push('never')));
  clock.advance(30);
  assert.deepEqual(ran, ['a@10', 'c@15', 'b@20']);
  assert.equal(clock.nowMs(), 30);
});
