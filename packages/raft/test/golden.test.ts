/**
 * Scripts of commands with everything that follows from them: test/golden/*.txt. REWRITE_GOLDEN=1 records them anew;
 * commit what it writes only if you can say why each line of the difference is right.
 */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { GoldenScript } from './golden-script.ts';

const FOLDER = new URL('./golden/', import.meta.url);
const REWRITE = process.env.REWRITE_GOLDEN === '1';

/** Comments and blank lines stay; each command ("> ...") is followed by its output. */
function replay(source: string): string {
  const script = new GoldenScript();
  const out: string[] = [];
  for (const line of source.split('\n')) {
    if (line.startsWith('> ')) out.push(line, script.run(line.slice(2)));
    else if (line.startsWith('#') || line === '') out.push(line);
  }
  return out.join('\n');
}

const names = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'));

test('there are scripts', () => assert.ok(names.length >= 7, names.join()));

for (const name of names) {
  test(`golden: ${name.replace('.txt', '').replaceAll('-', ' ')}`, () => {
    const file = new URL(name, FOLDER);
    const recorded = readFileSync(file, 'utf8');
    const actual = replay(recorded);
    if (REWRITE) writeFileSync(file, actual);
    else assert.equal(actual, recorded);
  });
}
