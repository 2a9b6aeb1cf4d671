import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import { engineSuite } from './engine-suite.ts';
import { MemoryEngine } from './memory-engine.ts';
import { SortedTable } from './sorted-table.ts';

engineSuite('memory engine', () => ({ engine: new MemoryEngine(), close: () => {} }));
engineSuite('memory engine, durable on flush', () => ({
  engine: new MemoryEngine({ durable: 'onFlush' }),
  close: () => {},
}));

const dump = (engine: MemoryEngine): string[] =>
  [...engine.iterate('keys')].map(([key, value]) => `${utf8Text(key)}=${utf8Text(value)}`);

test('crashCopy is the last sealed unit, whole, and leaves the original alone', () => {
  const engine = new MemoryEngine();
  engine.put('keys', utf8('a'), utf8('1'));
  engine.put('keys', utf8('b'), utf8('1'));
  engine.commit(5);
  engine.put('keys', utf8('a'), utf8('2'));
  engine.put('keys', utf8('a'), utf8('3'));
  engine.delete('keys', utf8('b'));
  engine.put('keys', utf8('c'), utf8('1'));
  const copy = engine.crashCopy();
  assert.deepEqual(dump(copy), ['a=1', 'b=1']);
  assert.equal(copy.flushedTag, 5);
  assert.deepEqual(dump(engine), ['a=3', 'c=1']);
});

test('crashCopy can lose sealed units that are not durable, newest first, and no durable one', () => {
  const engine = new MemoryEngine({ durable: 'onFlush' });
  engine.put('keys', utf8('a'), utf8('1'));
  engine.commit(1);
  engine.flush(() => {});
  for (const tag of [2, 3]) {
    engine.put('keys', utf8('a'), utf8(String(tag)));
    engine.commit(tag);
  }
  assert.equal(engine.flushedTag, 1);
  assert.ok(engine.pendingBytes > 0);
  const tags = [0, 1, 2, 9].map((lose) => engine.crashCopy(lose));
  assert.deepEqual(
    tags.map((copy) => [dump(copy)[0], copy.flushedTag]),
    [
      ['a=3', 3],
      ['a=2', 2],
      ['a=1', 1],
      ['a=1', 1],
    ],
  );
});

test('replaceBy takes over the sealed state of another engine', () => {
  const [source, target] = [new MemoryEngine(), new MemoryEngine()];
  source.put('keys', utf8('new'), utf8('1'));
  source.commit(8);
  source.put('keys', utf8('open'), utf8('1'));
  target.put('keys', utf8('old'), utf8('1'));
  target.replaceBy(source);
  assert.deepEqual(dump(target), ['new=1']);
  assert.equal(target.flushedTag, 8);
  target.put('keys', utf8('more'), utf8('1'));
  assert.deepEqual(dump(source), ['new=1', 'open=1']);
});

test('tables of many chunks keep their order, filled upwards, downwards and emptied', () => {
  const table = new SortedTable();
  const key = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 255);
  for (let n = 1000; n < 3000; n++) table.set(key(n), key(n));
  for (let n = 999; n >= 0; n--) table.set(key(n), key(n));
  assert.equal(table.size, 3000);
  const seen = [...table.iterate({})].map(([k]) => (k[0] as number) * 256 + (k[1] as number));
  assert.deepEqual(
    seen,
    Array.from({ length: 3000 }, (_, n) => n),
  );
  assert.deepEqual([...table.iterate({ reverse: true })].length, 3000);
  for (let n = 0; n < 3000; n++) assert.ok(table.delete(key(n)));
  assert.deepEqual([table.size, table.bytes], [0, 0]);
  assert.deepEqual([...table.iterate({ reverse: true })], []);
});
