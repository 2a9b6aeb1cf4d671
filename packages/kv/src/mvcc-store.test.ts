import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import { Harness, kvText, rangeRequest } from '../test/store-harness.ts';

/** One key's history, dumbly: every record in order. */
type Version = { readonly main: number; readonly text: string };

test('a fresh store is at revision 1, was never compacted, and the first write gets 2 (2.1)', () => {
  const h = new Harness();
  assert.deepEqual([h.machine.currentRevision, h.machine.compactRevision], [1, -1]);
  assert.equal(h.put('a', '1'), 2);
  assert.equal(h.machine.currentRevision, 2);
});

test('create revision, version and mod revision run per generation (2.1)', () => {
  const h = new Harness();
  h.put('a', '1');
  h.put('a', '2');
  assert.equal(h.get('a'), 'a=2@3 c2 v2');
  h.delete('a');
  assert.equal(h.get('a'), 'nothing');
  h.put('a', '3');
  assert.equal(h.get('a'), 'a=3@5');
  assert.deepEqual(
    [2, 3, 4, 5].map((revision) => h.get('a', revision)),
    ['a=1@2', 'a=2@3 c2 v2', 'nothing', 'a=3@5'],
  );
});

test('reads of long chains agree with a list of versions, whatever was compacted', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  const prng = new Prng(seed);
  const h = new Harness({ compactionBatch: 97 });
  const history = new Map<string, Version[]>([
    ['hot', []],
    ['warm', []],
    ['cold', []],
  ]);
  try {
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 900; i++) writeOne(h, prng, history);
      for (let i = 0; i < 60; i++) readOne(h, prng, history);
      if (prng.chance(0.5)) compactSome(h, prng);
      for (let i = 0; i < 60; i++) readOne(h, prng, history);
    }
  } catch (error) {
    throw new Error(`SEED=${seed}`, { cause: error });
  }
  assert.ok((history.get('hot') as Version[]).length > 2 * 4096, 'the long skip pointers were not reached');
});

function writeOne(h: Harness, prng: Prng, history: Map<string, Version[]>): void {
  const key = prng.chance(0.9) ? 'hot' : prng.chance(0.9) ? 'warm' : 'cold';
  const versions = history.get(key) as Version[];
  if (prng.chance(0.02) && h.delete(key) === 1) {
    versions.push({ main: h.machine.currentRevision, text: 'nothing' });
    return;
  }
  const main = h.put(key, String(prng.int(0, 1e6)));
  versions.push({ main, text: h.get(key) });
}

function readOne(h: Harness, prng: Prng, history: Map<string, Version[]>): void {
  const { compactRevision, currentRevision } = h.machine;
  const revision = prng.int(Math.max(1, compactRevision), currentRevision);
  for (const [key, versions] of history) {
    const expected = versions.findLast(({ main }) => main <= revision)?.text ?? 'nothing';
    const { kvs } = h.machine.range(rangeRequest(key, { revision }));
    assert.equal(kvText(kvs[0]), expected, `${key} at ${revision}, compacted at ${compactRevision}`);
  }
}

function compactSome(h: Harness, prng: Prng): void {
  const { compactRevision, currentRevision } = h.machine;
  h.compact(prng.int(Math.max(1, compactRevision + 1), currentRevision), false);
  for (let i = prng.int(0, 40); i > 0; i--) h.machine.compactStep();
}

test('a read at an old revision of a key changed 20,000 times looks at a few hundred records at most', () => {
  const h = new Harness();
  for (let i = 0; i < 20_000; i++) h.put('k', '');
  const { engine } = h;
  const get = engine.get.bind(engine);
  let gets = 0;
  engine.get = (table, key) => {
    gets++;
    return get(table, key);
  };
  let most = 0;
  for (let revision = 2; revision <= 20_001; revision += 37) {
    gets = 0;
    assert.equal(h.machine.range({ key: utf8('k'), revision }).kvs[0]?.modRevision, revision);
    most = Math.max(most, gets);
  }
  assert.ok(most <= 20_000 / 4096 + 64 + 64 + 4, `${most} gets`);
});

test('a put of an existing key costs one get of its head, and one of its value when that is wanted', () => {
  const h = new Harness();
  h.put('k', '1');
  const counts = (wanted: boolean): string[] => {
    h.machine.wantPrevValues = wanted;
    const calls: string[] = [];
    const { engine } = h;
    const [get, put] = [engine.get.bind(engine), engine.put.bind(engine)];
    engine.get = (table, key) => {
      calls.push(`get ${table}`);
      return get(table, key);
    };
    engine.put = (table, key, value) => {
      calls.push(`put ${table}`);
      put(table, key, value);
    };
    h.put('k', '2');
    Object.assign(engine, { get, put });
    return calls;
  };
  assert.deepEqual(counts(false), ['get keys', 'put revisions', 'put keys']);
  assert.deepEqual(counts(true), ['get keys', 'get revisions', 'put revisions', 'put keys']);
});
