import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { DataDirLocked, openDataDir } from './index.ts';

const HOLDER = new URL('./testing/hold-data-dir.child.ts', import.meta.url).pathname;

async function inTemporary(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(`${tmpdir()}/muster-dir-`);
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

test('the layout is made, the identity is kept, the lock comes and goes', () =>
  inTemporary(async (root) => {
    const path = `${root}/deep/data`;
    const first = await openDataDir(path);
    assert.equal(first.identity, undefined);
    const identity = { clusterId: 2n ** 64n - 1n, memberId: 0x1234n, name: 'naïve "one"' };
    await first.setIdentity(identity);
    assert.deepEqual(first.identity, identity);
    await assert.rejects(openDataDir(path), (e: Error) => e instanceof DataDirLocked);
    await first.close();
    const second = await openDataDir(path);
    assert.deepEqual(second.identity, identity);
    assert.deepEqual(readdirSync(path).sort(), ['LOCK', 'kv', 'member.json', 'snap', 'wal']);
    await second.close();
  }));

test('a second process is refused by name, and a killed one leaves nothing to clean up', () =>
  inTemporary(async (path) => {
    const child = spawn(process.execPath, [HOLDER, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await assert.rejects(openDataDir(path), (e: Error) =>
      e.message.includes(`process ${child.pid} uses this data directory`),
    );
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(readFileSync(`${path}/LOCK`, 'utf8').trim(), String(child.pid), 'it was not tidied up');
    const dir = await openDataDir(path);
    await dir.close();
  }));

test('an identity that cannot be read is refused with a sentence', () =>
  inTemporary(async (path) => {
    const cases: [string, RegExp][] = [
      ['{', /member\.json is not valid JSON/],
      ['{"formatVersion":2}', /format version 2, this program reads 1/],
      [
        '{"formatVersion":1,"clusterId":"x","memberId":"1","name":"a"}',
        /clusterId must be a hexadecimal number/,
      ],
    ];
    for (const [text, expected] of cases) {
      writeFileSync(`${path}/member.json`, text);
      await assert.rejects(openDataDir(path), expected);
    }
    writeFileSync(`${path}/member.json`, '{"formatVersion":1,"clusterId":"1","memberId":"ff","name":"a"}');
    const dir = await openDataDir(path);
    assert.deepEqual(dir.identity, { clusterId: 1n, memberId: 255n, name: 'a' });
    await dir.close();
  }));
