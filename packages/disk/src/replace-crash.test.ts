import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { openEngine, openSnapshotStore } from './index.ts';
import { unitOf } from './testing/units.ts';

const CHILD = new URL('./testing/replace.child.ts', import.meta.url).pathname;
/** More than there are. */
const STEPS_MAX = 30;

type Life = { readonly tag: number; readonly killedBefore: string | undefined };

function run(root: string, what: string, killBefore: number): Life {
  const child = spawnSync(process.execPath, [CHILD, root, what, String(killBefore)], { encoding: 'utf8' });
  const lines = child.stdout.trim().split('\n');
  const last = (kind: string) => lines.findLast((line) => line.startsWith(kind))?.slice(2);
  const killedBefore = last('k ');
  assert.equal(child.signal, killedBefore ? 'SIGKILL' : null, child.stderr);
  return { tag: Number(last('e ')), killedBefore };
}

/** All units up to a tag that is not older, nothing else, and no leftovers; and it can be replaced again. */
async function check(root: string, what: string, { tag }: Life): Promise<void> {
  const engine = openEngine(`${root}/kv`);
  const found = engine.flushedTag;
  assert.ok(found >= tag, `tag ${tag} was durable, the engine stands at ${found}`);
  const revisions = [...engine.iterate('revisions')];
  assert.equal(revisions.length, found);
  for (const [table, key, value] of unitOf(found)) {
    assert.deepEqual(Buffer.from(engine.get(table, key) as Uint8Array), Buffer.from(value));
  }
  assert.deepEqual(readdirSync(`${root}/kv`).sort(), ['data.mdb', 'data.mdb-lock'], what);
  const store = await openSnapshotStore(`${root}/snap`, engine);
  await store.defragment();
  assert.equal([...engine.iterate('revisions')].length, found);
  await engine.close();
}

for (const what of ['defragment', 'install'] as const) {
  test(`killed before any step of an ${what === 'install' ? 'installation' : 'exchange by a copy'}, the data is whole`, async (t) => {
    const root = mkdtempSync(`${tmpdir()}/muster-replace-`);
    t.after(() => rmSync(root, { recursive: true }));
    const steps: string[] = [];
    for (let step = 1; step <= STEPS_MAX; step++) {
      const life = run(root, what, step);
      await check(root, what, life);
      if (life.killedBefore === undefined) break;
      steps.push(life.killedBefore);
    }
    assert.ok(steps.includes('rename') && steps.includes('syncDirectory'), steps.join());
    assert.ok(steps.length < STEPS_MAX);
  });
}
