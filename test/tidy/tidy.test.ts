/** The repository polices itself: import arrows, what the core may not touch, dead files and exports, sizes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const root = new URL('../..', import.meta.url).pathname;
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '');

type Source = { readonly path: string; readonly text: string; readonly imports: readonly Import[] };
type Import = { readonly from: string; readonly typeOnly: boolean; readonly names: readonly string[] };

const sources: Source[] = tracked
  .filter((path) => /\.(ts|tsx|mjs)$/.test(path) && !/\.d\.ts$/.test(path))
  .flatMap((path) => {
    try {
      const text = readFileSync(join(root, path), 'utf8');
      return [{ path, text, imports: importsOf(text) }];
    } catch {
      return [];
    }
  });

function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const statement =
    /^\s*(import|export)\s+(type\s+)?([^'";]*?)\s*from\s+'([^']+)'|^\s*import\s+'([^']+)'|import\('([^']+)'\)/gm;
  for (const match of text.matchAll(statement)) {
    const clause = match[3] ?? '';
    const inner = /\{([\s\S]*)\}/.exec(clause)?.[1] ?? '';
    const parts = inner
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
    const typeOnly =
      match[2] !== undefined || (parts.length > 0 && parts.every((part) => part.startsWith('type ')));
    found.push({
      from: (match[4] ?? match[5] ?? match[6]) as string,
      typeOnly,
      names: parts.filter((part) => !part.startsWith('type ')).map((part) => part.split(' as ')[0] as string),
    });
  }
  return found;
}

const isTest = (path: string) =>
  /(\.test|-suite)\.tsx?$/.test(path) || /^(packages|apps)\/[^/]+\/test\//.test(path);
const workspace = (path: string) => /^(packages|apps)\/[^/]+/.exec(path)?.[0];

/** design: what may import what. `types` may be imported as types alone. */
const ARROWS: Record<string, { readonly values: readonly string[]; readonly types: readonly string[] }> = {
  'packages/base': { values: [], types: [] },
  'packages/contract': { values: ['base'], types: [] },
  'packages/raft': { values: ['base'], types: [] },
  'packages/kv': { values: ['base', 'contract'], types: [] },
  'packages/member': { values: ['base', 'contract', 'raft', 'kv'], types: [] },
  'packages/disk': { values: ['base', 'contract'], types: ['raft', 'kv', 'member'] },
  'packages/wire': { values: ['base', 'contract'], types: ['raft', 'kv', 'member'] },
  'packages/gateway': { values: ['base', 'contract'], types: ['kv'] },
  'packages/sdk': { values: ['base', 'contract'], types: [] },
  'apps/server': {
    values: ['base', 'contract', 'raft', 'kv', 'member', 'disk', 'wire', 'gateway'],
    types: [],
  },
  'apps/gateway': { values: ['base', 'contract', 'wire', 'gateway'], types: ['kv'] },
  'apps/demo': { values: ['base', 'contract', 'sdk'], types: [] },
  // Of disk: what a snapshot file says, and a data directory made of one; both work without a server.
  'apps/cli': { values: ['base', 'contract', 'wire', 'disk'], types: ['kv'] },
  'apps/dashboard': { values: ['sdk', 'contract'], types: [] },
};

/** Values that an adapter may take from a core package besides its types, with the reason. */
const EXCEPTIONS = new Set([
  'packages/disk member:WalError', // the port's own error class: the member tells it by its field
  'packages/disk kv:TABLES', // the port's list of tables
  // What the tables hold, as etcd's backend file: backups are made of tables and restored to them.
  'packages/disk kv:etcdBuckets',
  'packages/disk kv:BackendImport',
  'packages/disk kv:BackendDamaged',
  'packages/disk member:RAFT_META_KEY',
  'packages/disk member:decodeRaftMeta',
  'packages/disk member:encodeRaftMeta',
]);

test('imports follow the arrows of the design', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    const own = workspace(path);
    if (!own || isTest(path)) continue;
    const allowed = ARROWS[own];
    assert.ok(allowed, `${own} has no row in the table of arrows`);
    for (const { from, typeOnly, names } of imports) {
      const target = /^@muster\/([^/]+)/.exec(from)?.[1];
      if (!target || `packages/${target}` === own || allowed.values.includes(target)) continue;
      if (typeOnly && allowed.types.includes(target)) continue;
      if (names.length > 0 && names.every((name) => EXCEPTIONS.has(`${own} ${target}:${name}`))) continue;
      wrong.push(`${path} imports ${from}${typeOnly ? ' (types)' : ''}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('relative imports stay inside their workspace, and the SDK has undici in src/node alone', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    const own = workspace(path);
    if (!own) continue;
    for (const { from } of imports) {
      if (from.startsWith('.') && !normalize(join(dirname(path), from)).startsWith(`${own}/`)) {
        if (!isTest(path)) wrong.push(`${path} reaches out to ${from}`);
      }
      const nodeOnly = from === 'undici' || from.startsWith('node:');
      if (nodeOnly && own === 'packages/sdk' && !path.startsWith('packages/sdk/src/node/') && !isTest(path)) {
        wrong.push(`${path} imports ${from}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test('raft, kv and member know no clock, no randomness, no timers and nothing of Node', () => {
  const banned =
    /\bDate\b|Math\.random|\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bperformance\b|\bprocess\.|\bBuffer\b|['"]node:/;
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    if (!/^packages\/(base|raft|kv|member)\/src\//.test(path) || isTest(path)) continue;
    withoutComments(text)
      .split('\n')
      .forEach((line, i) => {
        const allowed = path.endsWith('kv/src/memory-engine.ts') && /queueMicrotask/.test(line);
        if (banned.test(line) && !allowed) wrong.push(`${path}:${i + 1} ${line.trim()}`);
      });
  }
  assert.deepEqual(wrong, []);
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, (c) => c.replace(/[^\n]/g, ' ')).replace(/(^|\s)\/\/.*$/gm, '$1');
}

/** Started by a command or a bundler, not by an import. */
const ENTRY =
  /(^|\/)(index|main|bootstrap|generate|sample-service|check-gateway-json)\.(ts|tsx|mjs)$|\.test\.tsx?$|vite\.config\.ts$|\.(worker|child|fixture)\.ts$/;

/** What a package's own table of exports names. */
function exportedFiles(path: string): string[] {
  if (!/^packages\/[^/]+\/package\.json$/.test(path)) return [];
  const table = JSON.stringify(
    (JSON.parse(readFileSync(join(root, path), 'utf8')) as { exports?: unknown }).exports ?? {},
  );
  return [...table.matchAll(/"(\.\/src\/[^"]+)"/g)].map((match) => join(dirname(path), match[1] as string));
}

test('every source file is reached by an import', () => {
  const reached = new Set<string>(tracked.flatMap(exportedFiles));
  for (const { path, text, imports } of sources) {
    for (const { from } of imports)
      if (from.startsWith('.')) reached.add(normalize(join(dirname(path), from)));
    for (const match of text.matchAll(/new URL\('([^']+)', import\.meta\.url\)/g)) {
      reached.add(normalize(join(dirname(path), match[1] as string)));
    }
  }
  const dead = sources
    .map((source) => source.path)
    .filter((path) => !ENTRY.test(path) && !reached.has(path) && !path.startsWith('.ci/'));
  assert.deepEqual(dead, []);
});

test('every export is used outside its file, or is public', () => {
  const words = new Map<string, Set<string>>();
  for (const { path, text } of sources) {
    for (const word of new Set(withoutComments(text).match(/[A-Za-z_$][\w$]*/g))) {
      let set = words.get(word);
      if (!set) words.set(word, (set = new Set()));
      set.add(path);
    }
  }
  const dead: string[] = [];
  const publicFiles = new Set(
    sources.flatMap(({ path, text }) =>
      [...text.matchAll(/^export type \* from '([^']+)'/gm)].map((m) => join(dirname(path), m[1] as string)),
    ),
  );
  for (const { path, text } of sources) {
    if (/\/gen\//.test(path) || isTest(path) || publicFiles.has(path)) continue;
    for (const match of withoutComments(text).matchAll(
      /^export (?:async )?(?:function\*?|const|let|class|interface|type|abstract class) ([A-Za-z_$][\w$]*)/gm,
    )) {
      const name = match[1] as string;
      if ((words.get(name)?.size ?? 0) < 2) dead.push(`${path} exports ${name}`);
    }
  }
  assert.deepEqual(dead, []);
});

test('no default exports, no star exports of values, no skipped tests', () => {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    if (/vite\.config\.ts$/.test(path)) continue;
    if (path === 'test/tidy/tidy.test.ts') continue;
    const code = withoutComments(text);
    if (/^export default/m.test(code)) wrong.push(`${path} has a default export`);
    if (/^export \* from/m.test(code)) wrong.push(`${path} re-exports everything`);
    if (/\b(it|test|describe|suite)\.(skip|todo|only)\(/.test(code)) wrong.push(`${path} leaves a test out`);
  }
  assert.deepEqual(wrong, []);
});

test('files stay below 600 lines, tests and generated code aside', () => {
  const long = sources
    .filter(({ path }) => !isTest(path) && !/\/gen\//.test(path) && !path.startsWith('test/'))
    .map(({ path, text }) => ({ path, lines: text.split('\n').length }))
    .filter(({ lines }) => lines > 600);
  assert.deepEqual(long, []);
});

test('nothing names a path of one machine', () => {
  const wrong = tracked
    .filter((path) => !/pnpm-lock|\.(png|ico|woff2|bin)$/.test(path) && path !== 'test/tidy/tidy.test.ts')
    .filter((path) => {
      try {
        return /(^|[^A-Za-z0-9_.])\/(work|farm|root)\//.test(readFileSync(join(root, path), 'utf8'));
      } catch {
        return false;
      }
    });
  assert.deepEqual(wrong, []);
});

test('every package has a README', () => {
  const wrong: string[] = [];
  for (const name of new Set(tracked.map((path) => /^packages\/[^/]+/.exec(path)?.[0]))) {
    if (name && !tracked.includes(`${name}/README.md`)) wrong.push(`${name} has no README.md`);
  }
  assert.deepEqual(wrong, []);
});
