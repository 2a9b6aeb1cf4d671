import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import { type Entry, TABLES } from '@muster/kv';
import { type Fs, type LmdbEngine, nodeFs, openEngine, openSnapshotStore, SnapshotDamaged } from './index.ts';
import type { DiskSnapshotStore } from './snapshot.ts';

type Site = { readonly root: string; readonly engine: LmdbEngine; readonly store: DiskSnapshotStore };

async function site(fs?: Fs): Promise<Site & { readonly close: () => Promise<void> }> {
  const root = mkdtempSync(`${tmpdir()}/muster-snap-`);
  const engine = openEngine(`${root}/kv`);
  const store = await openSnapshotStore(`${root}/snap`, engine, fs ? { fs } : {});
  const close = async (): Promise<void> => {
    await engine.close();
    rmSync(root, { recursive: true });
  };
  return { root, engine, store, close };
}

const create = (store: DiskSnapshotStore): Promise<{ name: string; raftMeta: Uint8Array }> =>
  new Promise((resolve, reject) => store.create((error, image) => (error ? reject(error) : resolve(image))));
const install = (store: DiskSnapshotStore, name: string): Promise<void> =>
  new Promise((resolve, reject) => store.install(name, (error) => (error ? reject(error) : resolve())));
const flush = (engine: LmdbEngine): Promise<void> =>
  new Promise((resolve, reject) => engine.flush((error) => (error ? reject(error) : resolve())));
const content = (engine: LmdbEngine): Entry[][] => TABLES.map((table) => [...engine.iterate(table)]);

function fill(engine: LmdbEngine, seed: number, tag: number): void {
  const prng = new Prng(seed);
  for (let i = 0; i < 3000; i++) {
    const key = new Uint8Array(prng.chance(0.02) ? prng.int(1901, 6000) : prng.int(1, 30)).fill(
      prng.int(97, 122),
    );
    engine.put(
      prng.pick(TABLES),
      key,
      new Uint8Array(prng.int(0, prng.chance(0.01) ? 300_000 : 100)).fill(i),
    );
  }
  engine.put('meta', utf8('raft'), utf8(`at ${tag}`));
  engine.commit(tag);
}

async function send(
  from: DiskSnapshotStore,
  to: DiskSnapshotStore,
  name: string,
  chunk: number,
): Promise<void> {
  const reader = await from.openRead(name);
  const writer = await to.receive(name, reader.size);
  for (let bytes = await reader.read(chunk); bytes.length > 0; bytes = await reader.read(chunk))
    await writer.write(bytes);
  await writer.finish();
  await reader.close();
}

test('an image made here, sent and installed there gives the same state, which stays after a restart', async () => {
  const [a, b] = [await site(), await site()];
  fill(a.engine, 1, 42);
  fill(b.engine, 2, 7);
  const { name, raftMeta } = await create(a.store);
  assert.equal(Buffer.from(raftMeta).toString(), 'at 42');
  await send(a.store, b.store, name, 10_007);
  await install(b.store, name);
  assert.equal(b.engine.flushedTag, 42);
  assert.deepEqual(content(b.engine), content(a.engine));
  b.engine.put('keys', utf8('after'), utf8('1'));
  b.engine.commit(43);
  await flush(b.engine);
  await b.engine.close();
  const again = openEngine(`${b.root}/kv`);
  assert.equal(again.flushedTag, 43);
  assert.equal(Buffer.from(again.get('keys', utf8('after')) as Uint8Array).toString(), '1');
  assert.deepEqual(readdirSync(`${b.root}/kv`).sort(), ['data.mdb', 'data.mdb-lock']);
  await again.close();
  rmSync(b.root, { recursive: true });
  await a.close();
});

test('an image stands at one commit, however many follow while it is made', async () => {
  const { engine, store, close } = await site();
  fill(engine, 3, 10);
  await flush(engine);
  const expected = content(engine);
  const made = create(store);
  const other = await site();
  let tag = 10;
  let finished = false;
  void made.then(() => {
    finished = true;
  });
  // The image may stand at any of these commits; each replaces one key by its tag.
  while (!finished) {
    engine.put('keys', utf8('~moving'), utf8(String(++tag)));
    engine.put('meta', utf8('raft'), utf8(String(tag)));
    engine.commit(tag);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { name, raftMeta } = await made;
  await send(store, other.store, name, 1 << 20);
  await install(other.store, name);
  const moving = other.engine.get('keys', utf8('~moving'));
  const at = other.engine.flushedTag;
  assert.ok(at >= 10);
  if (at > 10) {
    assert.equal(Buffer.from(moving as Uint8Array).toString(), String(at));
    assert.equal(Buffer.from(raftMeta).toString(), String(at));
  } else assert.equal(moving, undefined);
  other.engine.delete('keys', utf8('~moving'));
  other.engine.put('meta', utf8('raft'), utf8('at 10'));
  assert.deepEqual(content(other.engine), expected);
  await other.close();
  await close();
});

test('a damaged image is refused wherever it is damaged, and the state stays', async () => {
  const [a, b] = [await site(), await site()];
  fill(a.engine, 4, 42);
  fill(b.engine, 5, 7);
  const before = content(b.engine);
  const { name } = await create(a.store);
  const whole = readFileSync(a.store.path(name));
  const prng = new Prng(9);
  for (let round = 0; round < 25; round++) {
    const hurt = Buffer.from(whole);
    const at = prng.int(0, hurt.length - 1);
    hurt[at] = (hurt[at] as number) ^ (1 << prng.int(0, 7));
    const cut = round % 5 === 0 ? hurt.subarray(0, at) : hurt;
    writeFileSync(b.store.path(name), cut);
    await assert.rejects(install(b.store, name), SnapshotDamaged, `byte ${at}`);
    const writer = await b.store.receive('0.snap', cut.length);
    await assert.rejects(async () => {
      for (let i = 0; i < cut.length; i += 65536) await writer.write(cut.subarray(i, i + 65536));
      await writer.finish();
    }, SnapshotDamaged);
    await writer.abort();
  }
  assert.deepEqual(content(b.engine), before);
  assert.deepEqual(readdirSync(`${b.root}/snap`), [name]);
  assert.deepEqual(readdirSync(`${b.root}/kv`).sort(), ['data.mdb', 'data.mdb-lock']);
  await a.close();
  await b.close();
});

test('prune keeps the newest and what is being sent', async () => {
  const { engine, store, root, close } = await site();
  for (let tag = 1; tag <= 8; tag++) {
    engine.put('keys', utf8('k'), utf8(String(tag)));
    engine.commit(tag);
    await create(store);
  }
  const first = readdirSync(`${root}/snap`).sort()[0] as string;
  const reader = await store.openRead(first);
  store.prune(100);
  await create(store);
  const kept = readdirSync(`${root}/snap`).sort();
  assert.deepEqual(
    kept.map((n) => Number.parseInt(n, 10)),
    [1, 4, 5, 6, 7, 8],
  );
  assert.ok((await reader.read(100)).length > 0);
  await reader.close();
  store.prune(2);
  await create(store);
  assert.equal(readdirSync(`${root}/snap`).length, 2);
  await close();
});

test('a failure while installing, at any step, leaves the old state or the new one in place', async () => {
  const a = await site();
  fill(a.engine, 6, 42);
  const { name } = await create(a.store);
  const image = readFileSync(a.store.path(name));
  for (const step of ['rename', 'remove', 'syncDirectory'] as const) {
    let armed = false;
    const fs: Fs = new Proxy(nodeFs, {
      get(target, property) {
        const method = (target as unknown as Record<PropertyKey, unknown>)[property] as (
          ...args: unknown[]
        ) => void;
        if (property !== step) return method.bind(target);
        return (...args: unknown[]) => {
          const done = args.at(-1) as (error?: Error) => void;
          if (armed && String(args[0]).includes('/kv')) setImmediate(() => done(new Error('told to fail')));
          else method.apply(target, args);
        };
      },
    });
    const b = await site(fs);
    fill(b.engine, 7, 7);
    const before = content(b.engine);
    writeFileSync(b.store.path(name), image);
    armed = true;
    await assert.rejects(install(b.store, name), /told to fail/);
    armed = false;
    const expected = b.engine.flushedTag === 42 ? content(a.engine) : before;
    assert.deepEqual(content(b.engine), expected, step);
    b.engine.put('keys', utf8('goes on'), utf8('1'));
    b.engine.commit(100);
    await flush(b.engine);
    await b.close();
  }
  await a.close();
});

test('leftovers of an interrupted making are removed at the next start', async () => {
  const { root, engine, store, close } = await site();
  const writer = await store.receive('5.snap', 100);
  assert.equal(readdirSync(`${root}/snap`).length, 1);
  await openSnapshotStore(`${root}/snap`, engine);
  assert.deepEqual(readdirSync(`${root}/snap`), []);
  await writer.abort();
  await close();
});

test('nobody sees the new state before the one who asked is told of it', async () => {
  const here = await site();
  fill(here.engine, 21, 7);
  const { name } = await create(here.store);
  fill(here.engine, 22, 8);
  await flush(here.engine);
  let told = false;
  let seenUntold = false;
  const installed = new Promise<void>((resolve, reject) =>
    here.store.install(name, (error) => {
      told = true;
      if (error) reject(error);
      else resolve();
    }),
  );
  while (!told) {
    await new Promise((resolve) => setImmediate(resolve));
    const at = Buffer.from(here.engine.get('meta', utf8('raft')) as Uint8Array).toString();
    if (at === 'at 7' && !told) seenUntold = true;
  }
  await installed;
  assert.equal(seenUntold, false);
  await here.close();
});

test('where the copy cannot be opened once it has taken the place of the data, flushes fail instead of waiting', async () => {
  const fs: Fs = new Proxy(nodeFs, {
    get(target, property) {
      const method = (target as unknown as Record<PropertyKey, unknown>)[property] as (
        ...args: unknown[]
      ) => void;
      return (...args: unknown[]) => {
        const path = String(args[0]);
        if (property === 'syncDirectory' && path.endsWith('/kv')) {
          rmSync(`${path}/data.mdb`);
          mkdirSync(`${path}/data.mdb`);
        }
        method.apply(target, args);
      };
    },
  });
  const here = await site(fs);
  fill(here.engine, 31, 7);
  await assert.rejects(here.store.defragment());
  here.engine.put('keys', utf8('late'), utf8('1'));
  here.engine.commit(8);
  await assert.rejects(flush(here.engine), /stop this member/);
  assert.equal(Buffer.from(here.engine.get('keys', utf8('late')) as Uint8Array).toString(), '1');
  assert.equal(here.engine.flushedTag, 7);
  await here.close();
});
