/** What the READMEs show as TypeScript runs as it stands. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const root = new URL('../..', import.meta.url).pathname;
const documents = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((path) => path !== '');
const snippets = documents.flatMap((path) => {
  const text = readFileSync(join(root, path), 'utf8');
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match, i) => ({
    name: `${path}, snippet ${i + 1}`,
    code: match[1] as string,
  }));
});

test('there are snippets to run', () => assert.ok(snippets.length >= 5, `found ${snippets.length}`));

for (const [index, { name, code }] of snippets.entries()) {
  test(`${name} runs`, { timeout: 30_000 }, async () => {
    // In a workspace that depends on every package, so that their names resolve; run from the root.
    const file = join(root, 'test', 'docs', `.snippet-${process.pid}-${index}.ts`);
    await writeFile(file, code);
    try {
      await promisify(execFile)(process.execPath, [file], { cwd: root, timeout: 25_000 });
    } finally {
      await rm(file);
    }
  });
}

test('links between documents lead somewhere', () => {
  const files = new Set(
    execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
    }).split('\n'),
  );
  const broken: string[] = [];
  for (const path of documents) {
    const text = readFileSync(join(root, path), 'utf8').replace(/```[\s\S]*?```/g, '');
    for (const [, target] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)) {
      const resolved = join(path, '..', target as string).replace(/\/$/, '');
      const exists = files.has(resolved) || [...files].some((file) => file.startsWith(`${resolved}/`));
      if (!exists) broken.push(`${path} -> ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});
