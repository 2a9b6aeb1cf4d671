import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { openEngine, openWal } from './index.ts';
import { unitOf } from './testing/units.ts';

const WRITER = new URL('./testing/write.child.ts', import.meta.url).pathname;
const KILLS = 6;
/** The writer is killed after so many acknowledged appends, a different number each time. */
const ACKS_STEP = 150;

type Acknowledged = { index: number; tag: number };

/** Runs the writer until it has acknowledged `appends` more, then kills it. */
async function runAndKill(root: string, appends: number): Promise<Acknowledged> {
  const child = spawn(process.execPath, [WRITER, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const acknowledged: Acknowledged = { index: 0, tag: 0 };
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [kind, number] = line.split(' ');
    if (kind === 'w') acknowledged.index = Number(number);
    else acknowledged.tag = Number(number);
    if (kind === 'w' && ++seen === appends) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  assert.equal(child.signalCode, 'SIGKILL');
  return acknowledged;
}

async function checkLog(root: string, acknowledged: number): Promise<void> {
  const { wal, contents } = await openWal(`${root}/wal`, { segmentBytes: 64 * 1024 });
  const last = contents.entries.at(-1)?.index ?? 0;
  assert.ok(last >= acknowledged, `entry ${acknowledged} was acknowledged, the log ends at ${last}`);
  for (const [i, entry] of contents.entries.entries()) {
    assert.equal(entry.index, i + 1);
    assert.ok(entry.data.length === entry.index % 700 && entry.data.every((b) => b === (entry.index & 255)));
  }
  await new Promise<void>((resolve) => wal.close(resolve));
}

async function checkEngine(root: string, acknowledged: number): Promise<void> {
  const engine = openEngine(`${root}/kv`);
  const tag = engine.flushedTag;
  assert.ok(tag >= acknowledged, `tag ${acknowledged} was flushed, the engine stands at ${tag}`);
  const revisions = [...engine.iterate('revisions')];
  assert.equal(revisions.length, tag);
  for (const [i, [key, value]] of revisions.entries()) {
    const [, expectedKey, expectedValue] = unitOf(i + 1)[0] as ReturnType<typeof unitOf>[0];
    assert.ok(Buffer.from(expectedKey).equals(key) && Buffer.from(expectedValue).equals(value));
  }
  for (const [table, key, value] of unitOf(tag))
    assert.ok(Buffer.from(value).equals(engine.get(table, key) as Uint8Array));
  await engine.close();
}

test('killed again and again: what was acknowledged is there, units are whole', async () => {
  const root = mkdtempSync(`${tmpdir()}/muster-crash-`);
  try {
    for (let kill = 1; kill <= KILLS; kill++) {
      const acknowledged = await runAndKill(root, kill * ACKS_STEP);
      await checkLog(root, acknowledged.index);
      await checkEngine(root, acknowledged.tag);
    }
  } finally {
    rmSync(root, { recursive: true });
  }
});
