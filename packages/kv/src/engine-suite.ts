/** What every Engine must do, as one suite that each implementation runs. Not part of the package's exports. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binaryString, utf8, utf8Text } from '@muster/base';
import fc from 'fast-check';
import { type Bounds, type Engine, type EngineView, TABLES, type Table } from './engine.ts';

/** An empty engine for one test. `close` is called at the test's end, whatever its outcome. */
export type EngineUnderTest = { readonly engine: Engine; readonly close: () => void | Promise<void> };
type MakeEngine = () => EngineUnderTest | Promise<EngineUnderTest>;

const flushed = (engine: Engine): Promise<void> =>
  new Promise((resolve, reject) => engine.flush((error) => (error ? reject(error) : resolve())));

const texts = (engine: Engine, table: Table, bounds?: Bounds): string[] =>
  [...engine.iterate(table, bounds)].map(([key, value]) => `${utf8Text(key)}=${utf8Text(value)}`);

function put(engine: Engine, table: Table, ...pairs: string[]): void {
  for (const pair of pairs) {
    const [key, value] = pair.split('=') as [string, string];
    engine.put(table, utf8(key), utf8(value));
  }
}

/** Registers the suite with node:test under `name`. */
export function engineSuite(name: string, makeEngine: MakeEngine): void {
  const check = (title: string, body: (engine: Engine) => void | Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      const { engine, close } = await makeEngine();
      try {
        await body(engine);
      } finally {
        await close();
      }
    });
  };
  pointChecks(check);
  rangeChecks(check);
  durabilityChecks(check);
  twinChecks(check);
  viewChecks(check);
}

const viewed = (engine: Engine): Promise<EngineView> =>
  new Promise((resolve, reject) =>
    engine.view((error, view) => (view ? resolve(view) : reject(error ?? new Error('no view')))),
  );

function viewChecks(check: Check): void {
  check('a view stays as it is while the engine goes on, iterations under way included', async (engine) => {
    const long = new Uint8Array(5000).fill(0x62);
    put(engine, 'keys', 'a=1', 'c=1');
    engine.put('keys', long, utf8('long'));
    engine.commit(3);
    const view = await viewed(engine);
    const running = view.iterate('keys')[Symbol.iterator]();
    assert.equal(utf8Text((running.next().value as [Uint8Array, Uint8Array])[1]), '1');
    put(engine, 'keys', 'a=2', 'b=2');
    engine.delete('keys', long);
    engine.commit(4);
    await flushed(engine);
    const rest: string[] = [];
    for (let step = running.next(); !step.done; step = running.next()) rest.push(utf8Text(step.value[1]));
    assert.deepEqual(rest, ['long', '1']);
    assert.equal(view.tag, 3);
    assert.equal(utf8Text(view.get('keys', long) as Uint8Array), 'long');
    assert.equal(view.get('keys', utf8('b')), undefined);
    assert.deepEqual(
      [...view.iterate('keys', { from: utf8('b') })].map(([, value]) => utf8Text(value)),
      ['long', '1'],
    );
    const later = await viewed(engine);
    assert.deepEqual(
      [...later.iterate('keys')].map(([, value]) => utf8Text(value)),
      ['2', '2', '1'],
    );
    view.close();
    view.close();
    assert.equal(utf8Text(later.get('keys', utf8('b')) as Uint8Array), '2');
    later.close();
  });
}

type Check = (title: string, body: (engine: Engine) => void | Promise<void>) => void;

function pointChecks(check: Check): void {
  check('a fresh engine is empty', (engine) => {
    for (const table of TABLES) assert.deepEqual([...engine.iterate(table)], []);
    assert.equal(engine.get('keys', utf8('a')), undefined);
    assert.equal(engine.flushedTag, 0);
  });

  check('a write is read back at once, before any commit', (engine) => {
    put(engine, 'keys', 'a=1');
    assert.equal(utf8Text(engine.get('keys', utf8('a')) as Uint8Array), '1');
    put(engine, 'keys', 'a=2');
    assert.deepEqual(texts(engine, 'keys'), ['a=2']);
    engine.delete('keys', utf8('a'));
    assert.equal(engine.get('keys', utf8('a')), undefined);
    assert.deepEqual(texts(engine, 'keys'), []);
  });

  check('deleting what is not there does nothing', (engine) => {
    engine.delete('keys', utf8('ghost'));
    engine.commit(1);
    assert.deepEqual(texts(engine, 'keys'), []);
  });

  check('tables do not see each other', (engine) => {
    for (const table of TABLES) put(engine, table, `k=${table}`);
    engine.delete('leases', utf8('k'));
    for (const table of TABLES)
      assert.deepEqual(texts(engine, table), table === 'leases' ? [] : [`k=${table}`]);
  });

  check('empty values and keys of any bytes are kept', (engine) => {
    const keys = [Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(255), Uint8Array.of(255, 255)];
    for (const key of keys) engine.put('leaseKeys', key, new Uint8Array(0));
    assert.deepEqual(
      [...engine.iterate('leaseKeys')].map(([key, value]) => [[...key], value.length]),
      keys.map((key) => [[...key], 0]),
    );
    assert.equal(engine.get('leaseKeys', Uint8Array.of(0))?.length, 0);
  });

  check('what was returned does not change when the key is written again', async (engine) => {
    put(engine, 'keys', 'a=first');
    engine.commit(1);
    await flushed(engine);
    const value = engine.get('keys', utf8('a')) as Uint8Array;
    const [entry] = [...engine.iterate('keys')];
    put(engine, 'keys', 'a=other');
    engine.commit(2);
    await flushed(engine);
    engine.get('keys', utf8('a'));
    assert.equal(utf8Text(value), 'first');
    assert.equal(utf8Text(entry?.[1] as Uint8Array), 'first');
  });
}

function rangeChecks(check: Check): void {
  check('iteration is ordered by bytes, a key before its extensions', (engine) => {
    put(engine, 'keys', 'b=', 'a=', 'aa=', 'a/=', 'B=');
    assert.deepEqual(texts(engine, 'keys'), ['B=', 'a=', 'a/=', 'aa=', 'b=']);
  });

  check('bounds include from and exclude to, both ways', async (engine) => {
    put(engine, 'keys', 'a=1', 'c=3', 'e=5');
    engine.commit(1);
    await flushed(engine);
    put(engine, 'keys', 'b=2', 'd=4');
    const bounds = { from: utf8('b'), to: utf8('d') };
    assert.deepEqual(texts(engine, 'keys', bounds), ['b=2', 'c=3']);
    assert.deepEqual(texts(engine, 'keys', { ...bounds, reverse: true }), ['c=3', 'b=2']);
    assert.deepEqual(texts(engine, 'keys', { from: utf8('d') }), ['d=4', 'e=5']);
    assert.deepEqual(texts(engine, 'keys', { to: utf8('b'), reverse: true }), ['a=1']);
    assert.deepEqual(texts(engine, 'keys', { from: utf8('d'), to: utf8('b') }), []);
    assert.deepEqual(texts(engine, 'keys', { from: utf8('d'), to: utf8('b'), reverse: true }), []);
    assert.deepEqual(texts(engine, 'keys', { reverse: true }), ['e=5', 'd=4', 'c=3', 'b=2', 'a=1']);
  });

  check('an iteration may be abandoned, and the engine used on', (engine) => {
    put(engine, 'keys', 'a=1', 'b=2');
    for (const [key] of engine.iterate('keys')) {
      assert.equal(utf8Text(key), 'a');
      break;
    }
    put(engine, 'keys', 'c=3');
    assert.deepEqual(texts(engine, 'keys'), ['a=1', 'b=2', 'c=3']);
  });
}

function durabilityChecks(check: Check): void {
  check('flushedTag is the newest sealed tag once flush is done', async (engine) => {
    put(engine, 'keys', 'a=1');
    engine.commit(7);
    put(engine, 'meta', 'm=1');
    engine.commit(9);
    await flushed(engine);
    assert.equal(engine.flushedTag, 9);
    assert.equal(engine.pendingBytes, 0);
  });

  check('flush answers later, never from inside the call', async (engine) => {
    engine.commit(1);
    let answered = false;
    const done = new Promise<void>((resolve) =>
      engine.flush(() => {
        answered = true;
        resolve();
      }),
    );
    assert.equal(answered, false);
    await done;
  });

  check('a unit may be empty and a tag repeated', async (engine) => {
    engine.commit(3);
    put(engine, 'keys', 'a=1');
    engine.commit(3);
    await flushed(engine);
    assert.equal(engine.flushedTag, 3);
    assert.deepEqual(texts(engine, 'keys'), ['a=1']);
  });

  check('size grows with what is written', async (engine) => {
    const before = engine.size().inUse;
    for (let i = 0; i < 200; i++) engine.put('revisions', utf8(`key ${i}`), new Uint8Array(1000));
    engine.commit(1);
    await flushed(engine);
    const { total, inUse } = engine.size();
    assert.ok(inUse >= before + 200_000, `${before} -> ${inUse}`);
    assert.ok(total >= inUse, `${total} < ${inUse}`);
  });
}

type Step =
  | { readonly op: 'put'; readonly key: number; readonly value: number }
  | { readonly op: 'delete'; readonly key: number }
  | { readonly op: 'commit' }
  | { readonly op: 'flush' }
  | { readonly op: 'scan'; readonly from: number; readonly to: number; readonly reverse: boolean };

const KEYS = 400;
const key = fc.integer({ min: 0, max: KEYS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('put' as const), key, value: fc.nat(255) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.constant({ op: 'commit' as const }) },
  { weight: 1, arbitrary: fc.constant({ op: 'flush' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('scan' as const), from: key, to: key, reverse: fc.boolean() }),
  },
);

function twinChecks(check: Check): void {
  check('random steps agree with a sorted array', async (engine) => {
    const keyBytes = (n: number): Uint8Array =>
      Uint8Array.of(n >> 8, n & 255, ...(n % 3 === 0 ? [n & 7] : []));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 50, maxLength: 300, size: 'max' }), async (steps) => {
        for (const [k] of [...engine.iterate('keys')]) engine.delete('keys', k);
        const twin = new Map<string, number>();
        for (const s of steps) await runStep(engine, twin, s, keyBytes);
        const all = [...engine.iterate('keys')].map(([k, v]) => [binaryString(k), v[0]]);
        assert.deepEqual(all, sorted(twin));
      }),
      { numRuns: 40 },
    );
  });
}

let tag = 100;

async function runStep(
  engine: Engine,
  twin: Map<string, number>,
  s: Step,
  keyBytes: (n: number) => Uint8Array,
): Promise<void> {
  if (s.op === 'put') {
    engine.put('keys', keyBytes(s.key), Uint8Array.of(s.value));
    twin.set(binaryString(keyBytes(s.key)), s.value);
    assert.equal(engine.get('keys', keyBytes(s.key))?.[0], s.value);
  } else if (s.op === 'delete') {
    engine.delete('keys', keyBytes(s.key));
    twin.delete(binaryString(keyBytes(s.key)));
    assert.equal(engine.get('keys', keyBytes(s.key)), undefined);
  } else if (s.op === 'commit') engine.commit(++tag);
  else if (s.op === 'flush') await flushed(engine);
  else {
    const [from, to] = [keyBytes(s.from), keyBytes(s.to)];
    const got = [...engine.iterate('keys', { from, to, reverse: s.reverse })];
    const expected = sorted(twin).filter(([k]) => k >= binaryString(from) && k < binaryString(to));
    if (s.reverse) expected.reverse();
    assert.deepEqual(
      got.map(([k, v]) => [binaryString(k), v[0]]),
      expected,
    );
  }
}

const sorted = (twin: Map<string, number>): [string, number][] =>
  [...twin].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
