import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@muster/base';
import fc from 'fast-check';
import { BoltDamaged } from './format.ts';
import { BoltFile } from './reader.ts';
import { memorySource } from './source.ts';
import { BoltWriter, PAGE_BYTES } from './writer.ts';

type Content = readonly (readonly [name: string, entries: readonly (readonly [string, Buffer])[]])[];

function write(content: Content): Buffer {
  const writer = new BoltWriter();
  const blocks: Buffer[] = [];
  for (const [name, entries] of content) {
    writer.beginBucket(Buffer.from(name));
    for (const [key, value] of entries) {
      writer.add(Buffer.from(key, 'latin1'), value);
      if (writer.full) blocks.push(writer.take());
    }
    writer.endBucket();
  }
  const head = writer.finish();
  return Buffer.concat([head, ...blocks, writer.take()]);
}

const read = (file: Buffer): Content =>
  [...new BoltFile(memorySource(file)).buckets()].map(({ name, entries }) => [
    name.toString('latin1'),
    [...entries()].map(([key, value]) => [key.toString('latin1'), Buffer.from(value)] as const),
  ]);

const some = (prng: Prng, count: number): Content[number][1] =>
  Array.from({ length: count }, (_, i) => [
    `key-${String(i).padStart(8, '0')}`,
    Buffer.alloc(prng.chance(0.02) ? prng.int(4000, 40_000) : prng.int(0, 300), i),
  ]);

test('what was written is read back: empty buckets, many levels, values of many pages', () => {
  const prng = new Prng(1);
  const content: Content = [
    ['alarm', []],
    ['key', some(prng, 60_000)],
    ['lease', some(prng, 3)],
    ['meta', [['one', Buffer.alloc(100_000, 7)]]],
  ];
  const file = write(content);
  assert.equal(file.length % PAGE_BYTES, 0);
  assert.deepEqual(read(file), content);
  assert.ok(write(content).equals(file), 'the same content is the same bytes');
});

test('keys of which no two fit into a page come back, such as names of users', { timeout: 10_000 }, () => {
  for (const count of [2, 3, 4, 5, 100]) {
    const names = Array.from({ length: count }, (_, i) => `${String(i).padStart(3, '0')}${'x'.repeat(3000)}`);
    const content: Content = [['authUsers', names.map((name) => [name, Buffer.from('u')] as const)]];
    const file = write(content);
    assert.deepEqual(read(file), content);
    assert.ok(
      file.length < count * 4 * PAGE_BYTES + 8 * PAGE_BYTES,
      `${file.length} bytes for ${count} names`,
    );
  }
});

test('random contents come back', () => {
  const entries = fc.uniqueArray(
    fc.tuple(
      fc.string({ minLength: 1, maxLength: 200, unit: 'binary-ascii' }),
      fc.uint8Array({ maxLength: 9000 }),
    ),
    { selector: ([key]) => key, maxLength: 60 },
  );
  const order = (a: readonly [string, unknown], b: readonly [string, unknown]): number =>
    a[0] < b[0] ? -1 : 1;
  const buckets = fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]{1,12}$/), entries), {
    selector: ([name]) => name,
    maxLength: 8,
  });
  fc.assert(
    fc.property(buckets, (random) => {
      const content = random
        .map(
          ([name, list]) => [name, list.map(([k, v]) => [k, Buffer.from(v)] as const).sort(order)] as const,
        )
        .sort(order);
      assert.deepEqual(read(write(content)), content);
    }),
    { numRuns: 60 },
  );
});

test('a file with any damage is read to an end or refused by name, and never differently', () => {
  const seed = Number(process.env.BOLT_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const prng = new Prng(seed);
  const whole = write([
    ['a', some(prng, 900)],
    ['b', some(prng, 20)],
  ]);
  let refused = 0;
  for (let i = 0; i < 400; i++) {
    const file = Buffer.from(whole);
    for (let n = prng.int(1, 4); n > 0; n--) {
      // Mostly where the structure is.
      const page = prng.int(0, file.length / PAGE_BYTES - 1) * PAGE_BYTES;
      file[page + prng.int(0, prng.chance(0.7) ? 80 : PAGE_BYTES - 1)] = prng.int(0, 255);
    }
    const cut = prng.chance(0.2) ? file.subarray(0, prng.int(0, file.length)) : file;
    try {
      read(cut);
    } catch (error) {
      assert.ok(error instanceof BoltDamaged, `seed ${seed}, file ${i}: ${(error as Error).stack}`);
      refused++;
    }
  }
  assert.ok(refused > 50, `seed ${seed}: only ${refused} were refused`);
});

test('a cycle of pages, a page of another, a tree of two buckets are refused', () => {
  const prng = new Prng(3);
  const whole = write([
    ['a', some(prng, 900)],
    ['b', some(prng, 900)],
  ]);
  const branch = [...Array(whole.length / PAGE_BYTES).keys()].find(
    (id) => id > 2 && whole.readUInt16LE(id * PAGE_BYTES + 8) === 1,
  ) as number;
  const cyclic = Buffer.from(whole);
  cyclic.writeBigUInt64LE(BigInt(branch), branch * PAGE_BYTES + 16 + 8);
  assert.throws(() => read(cyclic), { name: 'BoltDamaged', message: `page ${branch} is used twice` });
  const renamed = Buffer.from(whole);
  renamed.writeBigUInt64LE(77n, branch * PAGE_BYTES);
  assert.throws(() => read(renamed), {
    name: 'BoltDamaged',
    message: `page ${branch} says that it is page 77`,
  });
  assert.throws(() => read(Buffer.alloc(100)), { message: /neither meta page is valid/ });
  assert.throws(() => read(Buffer.alloc(0)), { message: /neither meta page is valid/ });
  assert.throws(() => read(whole.subarray(0, -1)), { message: /cut short/ });
});

test('the meta page of the other transaction serves when one is damaged', () => {
  const content: Content = [['a', [['k', Buffer.from('v')]]]];
  for (const page of [0, 1]) {
    const file = write(content);
    file.fill(0xff, page * PAGE_BYTES + 16, page * PAGE_BYTES + 40);
    assert.deepEqual(read(file), content);
  }
});
