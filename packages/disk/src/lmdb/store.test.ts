import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import { type LmdbEngine, type OpenEngineOptions, openEngine } from './engine.ts';
import { LAYER_BYTES_MAX, StoreError } from './store.ts';

const flush = (engine: LmdbEngine): Promise<Error | undefined> =>
  new Promise((resolve) => engine.flush(resolve));
const number = (n: number): Uint8Array => utf8(String(n).padStart(8, '0'));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function withEngine(
  options: OpenEngineOptions,
  body: (engine: LmdbEngine, directory: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(`${tmpdir()}/muster-store-`);
  const engine = openEngine(directory, options);
  try {
    await body(engine, directory);
  } finally {
    await engine.close().catch(() => {});
    rmSync(directory, { recursive: true });
  }
}

test('reads agree with a plain map at every moment of commits in the background', () =>
  withEngine({ flushDelayMs: 0 }, async (engine) => {
    const prng = new Prng(11);
    const twin = new Map<string, string>();
    const seen = new Set<number>();
    for (let step = 1; step <= 600; step++) {
      for (let i = 0; i < 12; i++) {
        const key = prng.int(0, 3000);
        if (prng.chance(0.25)) {
          engine.delete('keys', number(key));
          twin.delete(String(key));
        } else {
          engine.put('keys', number(key), utf8(`${step}/${i}`));
          twin.set(String(key), `${step}/${i}`);
        }
      }
      if (prng.chance(0.8)) engine.commit(step);
      const [a, b] = [prng.int(0, 3000), prng.int(0, 3000)];
      const reverse = prng.chance(0.5);
      const got = [
        ...engine.iterate('keys', { from: number(Math.min(a, b)), to: number(Math.max(a, b)), reverse }),
      ];
      const keys = [...twin.keys()].map(Number).filter((k) => k >= Math.min(a, b) && k < Math.max(a, b));
      keys.sort((x, y) => (reverse ? y - x : x - y));
      assert.deepEqual(
        got.map(([k, v]) => `${Buffer.from(k)}=${Buffer.from(v)}`),
        keys.map((k) => `${Buffer.from(number(k))}=${twin.get(String(k))}`),
      );
      const probe = prng.int(0, 3000);
      const value = engine.get('keys', number(probe));
      assert.equal(value && Buffer.from(value).toString(), twin.get(String(probe)));
      seen.add(engine.flushedTag);
      if (prng.chance(0.7)) await turn();
    }
    assert.ok(seen.size > 20, `only ${seen.size} commits in the background were seen`);
  }));

test('an open unit does not become durable, and a flush does not wait for it', () =>
  withEngine({}, async (engine, directory) => {
    engine.put('keys', utf8('a'), utf8('sealed'));
    engine.commit(1);
    engine.put('keys', utf8('a'), utf8('open'));
    engine.put('keys', utf8('b'), utf8('open'));
    assert.equal(await flush(engine), undefined);
    assert.equal(Buffer.from(engine.get('keys', utf8('a')) as Uint8Array).toString(), 'open');
    await engine.close();
    const again = openEngine(directory);
    assert.equal(again.flushedTag, 1);
    assert.deepEqual(
      [...again.iterate('keys')].map(([k, v]) => `${Buffer.from(k)}=${Buffer.from(v)}`),
      ['a=sealed'],
    );
    await again.close();
  }));

test('pendingBytes grows with what is sealed and falls to nothing', () =>
  withEngine({}, async (engine) => {
    for (let tag = 1; tag <= 30; tag++) {
      engine.put('revisions', number(tag), new Uint8Array(LAYER_BYTES_MAX / 10));
      engine.commit(tag);
    }
    assert.ok(engine.pendingBytes >= 3 * LAYER_BYTES_MAX, String(engine.pendingBytes));
    await flush(engine);
    assert.equal(engine.pendingBytes, 0);
    assert.equal(engine.flushedTag, 30);
  }));

/** Files of this process may not grow beyond `bytes`: what a full disk looks like. */
function limitFiles(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`]);
}

const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

test('with no room the flush says so, reads go on, and all is durable once there is', {
  skip: !canLimit,
}, () => {
  const errors: StoreError[] = [];
  const options = { retryDelayMs: 5, onError: (e: StoreError) => errors.push(e) };
  return withEngine(options, async (engine, directory) => {
    engine.put('keys', utf8('small'), utf8('1'));
    engine.commit(1);
    assert.equal(await flush(engine), undefined);
    limitFiles(500_000);
    try {
      for (let i = 0; i < 40; i++) engine.put('revisions', number(i), new Uint8Array(50_000).fill(i));
      engine.commit(2);
      const error = await flush(engine);
      assert.ok(error instanceof StoreError && error.retryable, String(error));
      assert.match(error.message, /cannot write .*data\.mdb at the moment/);
      engine.delete('revisions', number(7));
      engine.commit(3);
      while (errors.length < 4) await turn();
      assert.equal(engine.flushedTag, 1);
      assert.equal(engine.get('revisions', number(39))?.[0], 39);
      assert.equal([...engine.iterate('revisions')].length, 39);
    } finally {
      limitFiles('unlimited');
    }
    while (engine.flushedTag < 3) await turn();
    assert.equal(await flush(engine), undefined);
    await engine.close();
    const again = openEngine(directory);
    assert.equal(again.flushedTag, 3);
    assert.equal([...again.iterate('revisions')].length, 39);
    await again.close();
  });
});

test('a file of another format version is refused', () =>
  withEngine({}, async (engine, directory) => {
    await engine.environment.tables
      .at(-1)
      ?.put('format', Buffer.from(new Float64Array([2]).buffer).reverse());
    await engine.close();
    assert.throws(() => openEngine(directory), /format version 2, this program reads 1/);
  }));
