// The one file that must run before anything is installed: plain JavaScript, Node 20 or newer, no dependencies.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NODE = join(ROOT, 'node_modules/node/bin/node');
const PNPM = 'pnpm@10.34.9';
const INSTALL_STAMP = join(ROOT, 'node_modules/.muster-install');
const DASHBOARD = join(ROOT, 'apps/dashboard');
const DASHBOARD_STAMP = join(DASHBOARD, 'dist/.stamp');
/** What the built page is made of. */
const DASHBOARD_SOURCES = [
  'apps/dashboard/index.html',
  'apps/dashboard/vite.config.ts',
  'apps/dashboard/package.json',
  'apps/dashboard/src',
  'packages/base/src',
  'packages/contract/src',
  'packages/sdk/src',
];
const UNIT_CONCURRENCY = 2;
/** Tests that start processes run one file at a time, so that they do not take each other's CPU ... */
const WHOLE_CONCURRENCY = 1;
/** ... but for those that measure nothing and wait most of the time, for other programs or for leases to end. */
const PATIENT =
  /^test\/(acceptance|backup|conformance|docs|interop|model|remote|e2e\/(auth|sdk-kv|sdk-watch))/;
const PATIENT_CONCURRENCY = 3;
const TEST_TIMEOUT_MS = 480_000;

const [target, ...extra] = process.argv.slice(2);
const targets = { start, test, bench, fuzz };
const run = targets[target];
if (!run) {
  console.error(`expected one of ${Object.keys(targets).join(', ')}, got ${target ?? 'nothing'}`);
  process.exit(2);
}
if (Number(process.versions.node.split('.')[0]) < 20) {
  console.error(`Muster needs Node 20 or newer to start; this is ${process.versions.node}.`);
  process.exit(2);
}

let child;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child?.kill(signal));

try {
  process.exitCode = await run();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

async function start() {
  await prepare();
  return node(['apps/demo/src/main.ts', ...extra]);
}

async function bench() {
  await prepare();
  return node(['test/bench/main.ts', ...extra]);
}

async function fuzz() {
  await prepare();
  return node(['test/fuzz/main.ts', ...extra]);
}

/** With files among the arguments only those are tested; other arguments go to `node --test`. */
async function test() {
  await prepare();
  const files = extra.filter((arg) => /\.test\.ts$/.test(arg));
  const flags = extra.filter((arg) => !files.includes(arg));
  if (files.length > 0) return tests('tests', files, WHOLE_CONCURRENCY, flags);
  const all = testFiles();
  const unit = all.filter((file) => !file.startsWith('test/'));
  const patient = all.filter((file) => PATIENT.test(file));
  const alone = all.filter((file) => file.startsWith('test/') && !PATIENT.test(file));
  const steps = [
    () => step('types', ['node_modules/typescript/bin/tsc', '--noEmit']),
    () => step('lint', ['node_modules/@biomejs/biome/bin/biome', 'check', '.']),
    () => tests('unit tests', unit, UNIT_CONCURRENCY, flags),
    () => tests('whole-system tests, some at a time', patient, PATIENT_CONCURRENCY, flags),
    () => tests('whole-system tests', alone, WHOLE_CONCURRENCY, flags),
  ];
  let worst = 0;
  for (const next of steps) worst = Math.max(worst, await next());
  console.log(worst === 0 ? '\nEverything passed.' : '\nSomething failed: see above.');
  return worst;
}

function tests(name, files, concurrency, flags) {
  return step(`${name}: ${files.length} files`, [
    '--test',
    `--test-concurrency=${concurrency}`,
    // What waits for ever is to fail, not to hold up everything after it.
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    ...flags,
    ...files,
  ]);
}

async function step(name, args) {
  console.log(`\n── ${name}`);
  const startedAt = Date.now();
  const code = await node(args);
  console.log(
    `── ${name}: ${code === 0 ? 'ok' : `failed (${code})`} in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`,
  );
  return code;
}

function testFiles() {
  return walk('.')
    .filter((file) => file.endsWith('.test.ts'))
    .sort();
}

/** Files below a directory, relative to the root, without what is generated or installed. */
function walk(path) {
  const absolute = join(ROOT, path);
  if (!existsSync(absolute)) return [];
  if (statSync(absolute).isFile()) return [path];
  return readdirSync(absolute, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.') || entry.name === 'node_modules' || entry.name === 'dist') return [];
    const below = relative('.', join(path, entry.name));
    return entry.isDirectory() ? walk(below) : [below];
  });
}

async function prepare() {
  process.chdir(ROOT);
  await install();
  await buildDashboard();
}

/** Installs when there is nothing, or when the lockfile is not the one that was installed from. */
async function install() {
  const wanted = hashOf(['pnpm-lock.yaml', 'pnpm-workspace.yaml']);
  if (existsSync(NODE) && stampOf(INSTALL_STAMP) === wanted) return;
  console.log('Installing dependencies (the first time takes a minute)...');
  const code = await command('npx', ['-y', PNPM, 'install', '--frozen-lockfile']);
  if (code !== 0)
    throw new Error(`The installation failed (${code}): see above. Is the npm registry reachable?`);
  if (!existsSync(NODE))
    throw new Error(`The installation left no ${relative(ROOT, NODE)}: remove node_modules and try again.`);
  writeFileSync(INSTALL_STAMP, wanted);
}

async function buildDashboard() {
  const wanted = hashOf(DASHBOARD_SOURCES.flatMap(walk).filter((file) => !file.endsWith('.test.ts')));
  if (stampOf(DASHBOARD_STAMP) === wanted) return;
  console.log('Building the dashboard...');
  rmSync(join(DASHBOARD, 'dist'), { recursive: true, force: true });
  const vite = join(DASHBOARD, 'node_modules/vite/bin/vite.js');
  const code = await node([
    vite,
    'build',
    DASHBOARD,
    '--config',
    join(DASHBOARD, 'vite.config.ts'),
    '--logLevel',
    'warn',
  ]);
  if (code !== 0) throw new Error(`Building the dashboard failed (${code}): see above.`);
  mkdirSync(join(DASHBOARD, 'dist'), { recursive: true });
  writeFileSync(DASHBOARD_STAMP, wanted);
}

function stampOf(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of [...files].sort())
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(ROOT, file)))
      .update('\0');
  return hash.digest('hex');
}

/** Runs Node 24, which is one of the dependencies. Resolves with its exit code. */
function node(args) {
  return command(NODE, args);
}

function command(file, args) {
  return new Promise((resolve) => {
    child = spawn(file, args, { cwd: ROOT, stdio: 'inherit' });
    child.once('error', (error) => {
      console.error(`cannot run ${file}: ${error.message}`);
      resolve(127);
    });
    child.once('exit', (code, signal) => {
      child = undefined;
      resolve(code ?? 128 + ({ SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal] ?? 0));
    });
  });
}
