/** `--config-file`: YAML whose keys are the names of flags, with two maps for TLS as in etcd's sample. */
import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { FLAGS, type FlagName } from './flag-table.ts';
import { parseDuration, parsePositiveDuration } from './flag-values.ts';
import { StartRefused } from './start-refused.ts';

/** Keys inside `client-transport-security` and `peer-transport-security`, as the flags that they stand for. */
const SECURITY: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'client-transport-security': {
    'cert-file': 'cert-file',
    'key-file': 'key-file',
    'client-cert-file': 'client-cert-file',
    'client-key-file': 'client-key-file',
    'client-cert-auth': 'client-cert-auth',
    'trusted-ca-file': 'trusted-ca-file',
    'crl-file': 'client-crl-file',
    'allowed-hostname': 'client-cert-allowed-hostname',
    'allowed-hostnames': 'client-cert-allowed-hostname',
    'auto-tls': 'auto-tls',
  },
  'peer-transport-security': {
    'cert-file': 'peer-cert-file',
    'key-file': 'peer-key-file',
    'client-cert-file': 'peer-client-cert-file',
    'client-key-file': 'peer-client-key-file',
    'client-cert-auth': 'peer-client-cert-auth',
    'trusted-ca-file': 'peer-trusted-ca-file',
    'crl-file': 'peer-crl-file',
    'allowed-cn': 'peer-cert-allowed-cn',
    'allowed-cns': 'peer-cert-allowed-cn',
    'allowed-hostname': 'peer-cert-allowed-hostname',
    'allowed-hostnames': 'peer-cert-allowed-hostname',
    'auto-tls': 'peer-auto-tls',
    'skip-client-san-verification': 'peer-skip-client-san-verification',
  },
};

/** Values as flags would be given them, by key. Keys without a value are left out. Throws `StartRefused`. */
export function readConfigFile(path: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [key, value] of Object.entries(readMap(path))) {
    const inside = SECURITY[key];
    if (inside === undefined) {
      set(texts, path, key, key, value);
    } else if (value !== null) {
      if (!isMap(value)) throw badFile(path, `${key} must be a map`);
      for (const [name, one] of Object.entries(value)) {
        set(texts, path, `${key}.${name}`, inside[name] ?? `${key}.${name}`, one);
      }
    }
  }
  return texts;
}

function readMap(path: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw badFile(path, `open ${path}: ${code === 'ENOENT' ? 'no such file or directory' : code}`);
  }
  const document = parseDocument(text, { logLevel: 'error' });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw badFile(path, problem.message.split('\n')[0] as string);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch {
    throw badFile(path, 'aliases (*name) are not taken');
  }
  if (value === null) return {};
  if (!isMap(value)) throw badFile(path, 'expected a map of flags');
  return value;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function set(texts: Map<string, string>, path: string, key: string, name: string, value: unknown): void {
  if (value === null || value === undefined) return;
  const scalars = Array.isArray(value) ? value : [value];
  if (scalars.some((one) => !['string', 'number', 'boolean'].includes(typeof one))) {
    throw badFile(path, `${key} must be a text, a number, true or false, or a list of these`);
  }
  const text = scalars.map((one) => textOf(name, one as string | number | boolean)).join(',');
  if (texts.has(name)) throw badFile(path, `${key} is given twice`);
  // A flag that takes no empty text was left empty in the sample file, which is its default.
  if (text !== '') texts.set(name, text);
}

/** A bare number of a time is Go's: nanoseconds. */
function textOf(name: string, value: string | number | boolean): string {
  const parse: unknown = Object.hasOwn(FLAGS, name) ? FLAGS[name as FlagName].parse : undefined;
  const isTime = parse === parseDuration || parse === parsePositiveDuration;
  return typeof value === 'number' && isTime && value !== 0 ? `${value}ns` : String(value);
}

function badFile(path: string, why: string): StartRefused {
  return new StartRefused(`error verifying flags, ${path}: ${why}. See 'muster-server --help'.`);
}
