import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { utf8, utf8Text } from '@muster/base';
import type { EngineView } from '@muster/kv';
import { engineSuite } from '../../../kv/src/engine-suite.ts';
import { called } from '../fs.ts';
import { openSnapshotStore } from '../snapshot.ts';
import { openEngine } from './engine.ts';

engineSuite('LmdbEngine', () => {
  const directory = mkdtempSync(`${tmpdir()}/muster-engine-`);
  const engine = openEngine(directory, { flushDelayMs: 1 });
  return {
    engine,
    close: async () => {
      await engine.close();
      rmSync(directory, { recursive: true });
    },
  };
});

test('however many views are asked for, LMDB has places for readers left, and each shows its own commit', async () => {
  const directory = mkdtempSync(`${tmpdir()}/muster-engine-`);
  const engine = openEngine(directory, { flushDelayMs: 1 });
  const key = utf8('k');
  const asked: Promise<void>[] = [];
  for (let tag = 1; tag <= 300; tag++) {
    engine.put('keys', key, utf8(String(tag)));
    engine.commit(tag);
    const opened = called<EngineView>((done) => engine.view(done));
    const isOver = async (view: EngineView): Promise<void> => {
      assert.ok(view.tag >= tag);
      for (let i = 0; i < 5; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(utf8Text(view.get('keys', key) as Uint8Array), String(view.tag));
      }
      view.close();
    };
    asked.push(opened.then(isOver));
    await called((done) => engine.flush(done));
  }
  await Promise.all(asked);
  const held = await Promise.all(
    Array.from({ length: 16 }, () => called<EngineView>((done) => engine.view(done))),
  );
  const late = called<EngineView>((done) => engine.view(done));
  const refused = assert.rejects(late, /closed/);
  await engine.close();
  await refused;
  assert.throws(() => held[0]?.get('keys', key), /closed/);
  await assert.rejects(
    called<EngineView>((done) => engine.view(done)),
    /closed/,
  );
  rmSync(directory, { recursive: true });
});

test('closed at any moment of a defragmentation, it is closed once that is over', async () => {
  for (let turns = 0; turns < 12; turns++) {
    const root = mkdtempSync(`${tmpdir()}/muster-engine-`);
    const engine = openEngine(`${root}/kv`);
    const store = await openSnapshotStore(`${root}/snap`, engine);
    for (let i = 0; i < 300; i++) engine.put('keys', utf8(`k${i}`), new Uint8Array(3000));
    engine.commit(1);
    await called((done) => engine.flush(done));
    const outcome = store.defragment().then(
      () => 'done',
      (error: Error) => error.message,
    );
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    engine.put('keys', utf8('late'), utf8('x'));
    engine.commit(2);
    await engine.close();
    assert.match(await outcome, /^done$|closed/);
    const again = openEngine(`${root}/kv`);
    assert.equal(again.flushedTag, 2);
    assert.equal([...again.iterate('keys')].length, 301);
    await again.close();
    rmSync(root, { recursive: true });
  }
});
