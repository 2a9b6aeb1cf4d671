/** Command lines, environments and YAML files that are almost right. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Prng } from '@muster/base';
import { stringify } from 'yaml';
import { readCommandLine, refusalText, StartRefused } from '../../apps/server/src/command-line.ts';
import { configOf } from '../../apps/server/src/config.ts';
import { FLAGS } from '../../apps/server/src/flag-table.ts';
import { IDLE, REFUSED } from '../../apps/server/src/flags.ts';
import { type Json, mutateBytes, mutateJson } from './mutate.ts';
import { checkWords } from './target.ts';

const NAMES = [...Object.keys(FLAGS), ...Object.keys(FLAGS), ...Object.keys(IDLE), ...Object.keys(REFUSED)];
const VALUES = [
  ...[
    '',
    'true',
    'false',
    'x',
    '0',
    '1',
    '-1',
    '1.5',
    '5s',
    '1h',
    '1ns',
    '-5s',
    '9223372036854775808',
    '1e400',
  ],
  ...[
    'http://127.0.0.1:1',
    'http://127.0.0.1:0,https://[::1]:2',
    'unix:///tmp/x',
    'http://',
    ':0',
    'a=http://b:1',
  ],
  ...['default=http://localhost:2380', 'new', 'existing', 'jwt,pub-key=a,sign-method=RS256', 'periodic', '*'],
  ...['\0', '__proto__', 'constructor', '\u{1f4a3}', 'x'.repeat(5000), '/nonexistent', '%zz', 'http://[::1'],
  ...[
    'http://a:99999',
    'http://user:pw@h:1',
    'http://h:1/path?q#f',
    'TLS1.3',
    'console',
    'TLS_AES_128_GCM_SHA256',
  ],
];
const LINES = [
  'name: &a x\nother: *a',
  'a: !!binary xx',
  '? [a, b]\n: c',
  'name: x\nname: y',
  '%YAML 9.9\n---\nname: x',
  '---\nname: x\n---\nname: y',
  'name: 2001-01-01',
  '<<: {name: x}',
  'name: !!js/function x',
  '- name',
  'name: |\n  x\n  y',
  '\ufeffname: x',
  'name: "\\ud800"',
];

let path: string | undefined;

/** A configuration, or `StartRefused` with a sentence: nothing else. */
export function configOutcome(prng: Prng): string {
  const [argv, env] = prng.chance(0.5)
    ? [flags(prng), variables(prng)]
    : [[`--config-file=${file(prng)}`], {}];
  try {
    configOf(readCommandLine(argv, env), []);
    return 'ok';
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    const what = JSON.stringify([argv, env]).slice(0, 400);
    if (!refusalText(error).startsWith(error.message) || error.message === '') throw error;
    checkWords(error.message, what, what);
    return error.name;
  }
}

function flags(prng: Prng): string[] {
  return Array.from({ length: prng.int(0, 6) }, () => {
    const name = prng.chance(0.05) ? text(prng, prng.pick(NAMES)) : prng.pick(NAMES);
    const value = prng.chance(0.1) ? text(prng, prng.pick(VALUES)) : prng.pick(VALUES);
    if (prng.chance(0.1)) return prng.pick(['--', '-', '', '---x', '-=', '--=x', 'x', `--${name}`]);
    return `${prng.pick(['-', '--'])}${name === 'config-file' ? 'name' : name}=${value}`;
  });
}

function variables(prng: Prng): Record<string, string> {
  const pairs = Array.from({ length: prng.int(0, 3) }, () => {
    const name = prng.pick(NAMES).toUpperCase().replaceAll('-', '_');
    return [`${prng.pick(['ETCD_', 'MUSTER_'])}${name}`, prng.pick(VALUES)] as const;
  });
  return Object.fromEntries(pairs.filter(([name]) => !name.endsWith('_CONFIG_FILE')));
}

/** The path of one that holds YAML, or nearly. */
function file(prng: Prng): string {
  if (path === undefined) {
    const directory = mkdtempSync(join(tmpdir(), 'muster-fuzz-'));
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
    path = join(directory, 'config.yaml');
  }
  let map: Json = Object.fromEntries(
    Array.from({ length: prng.int(0, 6) }, () => {
      const name = prng.chance(0.2)
        ? prng.pick(['client-transport-security', 'peer-transport-security'])
        : '';
      const value: Json = prng.chance(0.2)
        ? prng.pick([0, 1, -1, true, null, Number.POSITIVE_INFINITY, 5000])
        : prng.pick(VALUES);
      if (name === '') return [prng.pick(NAMES), value];
      return [name, { 'cert-file': value, 'client-cert-auth': prng.pick(VALUES) }];
    }),
  );
  if (prng.chance(0.4)) map = mutateJson(prng, map);
  let yaml = prng.chance(0.5) ? JSON.stringify(map) : stringify(map);
  if (prng.chance(0.2)) yaml = prng.pick(LINES);
  const bytes = prng.chance(0.3) ? mutateBytes(prng, Buffer.from(yaml)) : Buffer.from(yaml);
  writeFileSync(path, bytes);
  return path;
}

const text = (prng: Prng, from: string): string =>
  Buffer.from(mutateBytes(prng, Buffer.from(from))).toString('latin1');
