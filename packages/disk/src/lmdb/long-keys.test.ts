import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { binaryString, fromBinaryString, Prng } from '@muster/base';
import type { Bounds } from '@muster/kv';
import { type LmdbEngine, openEngine } from './engine.ts';
import { CHUNK_BYTES } from './long-keys.ts';

const flush = (engine: LmdbEngine): Promise<void> =>
  new Promise((resolve, reject) => engine.flush((error) => (error ? reject(error) : resolve())));

/** Keys that share long prefixes and differ around every multiple of a chunk. */
function randomKey(prng: Prng): Uint8Array {
  const length = Math.max(1, prng.int(0, 3) * CHUNK_BYTES + prng.int(-2, 2));
  const key = new Uint8Array(length).fill(prng.pick([0, 97, 255]));
  for (let at = CHUNK_BYTES - 1; at < length + CHUNK_BYTES; at += CHUNK_BYTES) {
    const i = Math.min(at + prng.int(-1, 2), length - 1);
    if (prng.chance(0.6)) key[i] = prng.pick([0, 1, 97, 254, 255]);
  }
  if (prng.chance(0.3)) key[length - 1] = prng.int(0, 255);
  return key;
}

function compare(engine: LmdbEngine, twin: Map<string, number>, bounds: Bounds, seed: number): void {
  const from = bounds.from ? binaryString(bounds.from) : '';
  const to = bounds.to && binaryString(bounds.to);
  const expected = [...twin].filter(([key]) => key >= from && (to === undefined || key < to));
  expected.sort(([a], [b]) => (a < b ? -1 : 1));
  if (bounds.reverse) expected.reverse();
  const got = [...engine.iterate('keys', bounds)].map(([key, value]) => [binaryString(key), value[0]]);
  // Not deepEqual: its message would print the keys.
  assert.equal(got.length, expected.length, `seed ${seed}`);
  assert.ok(
    got.every(([key, value], i) => key === expected[i]?.[0] && value === expected[i]?.[1]),
    `seed ${seed}`,
  );
}

test('keys of any length keep their order, whatever is written, deleted and flushed', async () => {
  for (let seed = 0; seed < 6; seed++) {
    const prng = new Prng(seed);
    const directory = mkdtempSync(`${tmpdir()}/muster-long-`);
    const engine = openEngine(directory);
    const twin = new Map<string, number>();
    for (let step = 0; step < 400; step++) {
      const key =
        prng.chance(0.4) && twin.size > 0 ? fromBinaryString(prng.pick([...twin.keys()])) : randomKey(prng);
      if (prng.chance(0.6)) {
        const value = prng.int(0, 255);
        engine.put('keys', key, Uint8Array.of(value));
        twin.set(binaryString(key), value);
      } else {
        engine.delete('keys', key);
        twin.delete(binaryString(key));
      }
      const probe = randomKey(prng);
      assert.equal(engine.get('keys', probe)?.[0], twin.get(binaryString(probe)));
      if (prng.chance(0.1)) engine.commit(step + 1);
      if (prng.chance(0.03)) await flush(engine);
      if (step % 10 !== 0) continue;
      const reverse = prng.chance(0.5);
      const bounds = {
        ...(prng.chance(0.7) && { from: randomKey(prng) }),
        ...(prng.chance(0.7) && { to: randomKey(prng) }),
      };
      compare(engine, twin, { ...bounds, reverse }, seed);
    }
    for (const key of twin.keys()) engine.delete('keys', fromBinaryString(key));
    assert.deepEqual([...engine.iterate('keys')], []);
    engine.commit(1000);
    await flush(engine);
    const { tables } = engine.environment;
    for (const table of tables.slice(0, -1))
      assert.equal([...table.getRange({} as never)].length, 0, 'markers stay behind');
    await engine.close();
    rmSync(directory, { recursive: true });
  }
});

test('a key of a megabyte and a half is as good as any', async () => {
  const directory = mkdtempSync(`${tmpdir()}/muster-long-`);
  const engine = openEngine(directory);
  const key = new Uint8Array(1_500_000).fill(120);
  const other = key.slice();
  other[1_499_999] = 121;
  engine.put('keys', other, Uint8Array.of(2));
  engine.put('keys', key, Uint8Array.of(1));
  engine.put('leaseKeys', key, Uint8Array.of(3));
  engine.commit(1);
  await flush(engine);
  assert.deepEqual(
    [...engine.iterate('keys')].map(([k, v]) => [k.length, v[0]]),
    [
      [1_500_000, 1],
      [1_500_000, 2],
    ],
  );
  assert.equal(engine.get('leaseKeys', key)?.[0], 3);
  assert.equal(engine.get('leaseKeys', other), undefined);
  await engine.close();
  rmSync(directory, { recursive: true });
});
