/** From arguments and environment to typed values, by the rules of Go's flag package and etcd's environment. */

import { nearest } from '@muster/base';
import { readConfigFile } from './config-file.ts';
import { FLAGS, type Flag, type FlagName, type FlagValues, FORMER_NAMES } from './flag-table.ts';
import { BadBoolean, BadValue } from './flag-values.ts';
import { envOf, helpText, IDLE, IDLE_BOOLEANS, knownNames, REFUSED } from './flags.ts';
import { StartRefused } from './start-refused.ts';

export { StartRefused };

export type CommandLine = {
  readonly values: FlagValues;
  /** Named by a flag or a variable, not left at the default. */
  readonly given: ReadonlySet<FlagName>;
  /** Worth a line in the log once there is one. */
  readonly warnings: readonly string[];
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the values of flags come from, by their names in the table, and the text that a mistake is blamed on. */
type Source = ReadonlyMap<FlagName, string>;

/** `argv` without the program's own name. Throws `StartRefused`. */
export function readCommandLine(argv: readonly string[], env: Environment): CommandLine {
  const warnings: string[] = [];
  const texts = readArguments(argv, warnings);
  const file = texts.get('config-file') || env.ETCD_CONFIG_FILE;
  const asksForText = texts.has('help') || texts.has('version');
  if (file !== undefined && file !== '' && !asksForText) return readFile(file);
  const values: Record<string, unknown> = {};
  const given = new Set<FlagName>();
  for (const [name, text] of texts) {
    values[name] = parseFlag(name, text);
    given.add(name);
  }
  for (const [variable, name] of variablesOf()) {
    const text = env[variable];
    if (text === undefined || text === '' || name === 'version' || name === 'help') continue;
    if (given.has(name)) {
      warnings.push(`environment variable ${variable} is shadowed by flag --${name}`);
    } else {
      values[name] = parseVariable(FLAGS[name], variable, text);
      given.add(name);
    }
  }
  checkVariables(env, warnings);
  return finished(values, given, warnings);
}

function finished(
  values: Record<string, unknown>,
  given: ReadonlySet<FlagName>,
  warnings: string[],
): CommandLine {
  for (const [name, one] of Object.entries<Flag<unknown>>(FLAGS)) {
    if (!given.has(name as FlagName)) values[name] = one.parse(one.fallback);
  }
  return { values: values as FlagValues, given, warnings };
}

/** All other flags, and all variables, are left aside then, as in etcd. */
function readFile(path: string): CommandLine {
  const warnings = [
    `Loading server configuration from ${JSON.stringify(path)}. Other configuration command line flags and environment variables will be ignored if provided.`,
  ];
  const values: Record<string, unknown> = {};
  const given = new Set<FlagName>();
  for (const [key, text] of readConfigFile(path)) {
    const name = tableName(key);
    if (name !== undefined) {
      values[name] = parseKey(path, key, name, text);
      given.add(name);
    } else if (Object.hasOwn(REFUSED, key)) {
      if (text !== '') throw refusedFor(`${path}: ${key}`, REFUSED[key] as string);
    } else if (Object.hasOwn(IDLE, key)) {
      warnings.push(`${path}: ${key} has no effect here: ${IDLE[key]}`);
    } else {
      warnings.push(`${path}: ${key} is not known${suggestion(key, '')}`);
    }
  }
  return finished(values, given, warnings);
}

/** The name in the table of a name that may be a former one. */
function tableName(name: string): FlagName | undefined {
  if (Object.hasOwn(FLAGS, name)) return name as FlagName;
  return Object.hasOwn(FORMER_NAMES, name) ? FORMER_NAMES[name] : undefined;
}

/** Every variable of the table's flags; those of former names come last, so that the present ones win. */
function variablesOf(): readonly (readonly [string, FlagName])[] {
  return [
    ...Object.entries<Flag<unknown>>(FLAGS).map(
      ([name, one]) => [envOf(name, one.own), name as FlagName] as const,
    ),
    ...Object.entries(FORMER_NAMES).map(([former, name]) => [envOf(former, false), name] as const),
  ];
}

/** Go stops at the first argument that is not a flag; etcd refuses it. The last of a repeated flag counts. */
function readArguments(argv: readonly string[], warnings: string[]): Source {
  const texts = new Map<FlagName, string>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    if (argument === '--' || !argument.startsWith('-') || argument === '-') {
      const extra = argument === '--' ? argv[i + 1] : argument;
      if (extra === undefined) break;
      throw refused(`'${extra}' is not a valid flag`);
    }
    const body = argument.replace(/^--?/, '');
    if (body === '' || body.startsWith('-') || body.startsWith('=')) {
      throw misused(`bad flag syntax: ${argument}`);
    }
    const equals = body.indexOf('=');
    const name = equals < 0 ? body : body.slice(0, equals);
    const takesNext = equals < 0 && !isBoolean(name);
    if (takesNext && i + 1 >= argv.length && isKnown(name)) throw misused(`flag needs an argument: -${name}`);
    const text = equals >= 0 ? body.slice(equals + 1) : takesNext ? (argv[++i] as string) : 'true';
    if (name === 'h') texts.set('help', 'true');
    else if (tableName(name) !== undefined) texts.set(tableName(name) as FlagName, text);
    else if (Object.hasOwn(IDLE, name)) warnings.push(`flag --${name} has no effect here: ${IDLE[name]}`);
    else if (Object.hasOwn(REFUSED, name)) throw refusedFor(`flag --${name}`, REFUSED[name] as string);
    else throw misused(`flag provided but not defined: -${name}`, suggestion(name, '--'));
  }
  return texts;
}

function isKnown(name: string): boolean {
  return tableName(name) !== undefined || Object.hasOwn(IDLE, name) || Object.hasOwn(REFUSED, name);
}

function isBoolean(name: string): boolean {
  const known = tableName(name);
  if (known !== undefined) return FLAGS[known].boolean;
  return !isKnown(name) || IDLE_BOOLEANS.has(name);
}

function parseFlag(name: FlagName, text: string): unknown {
  try {
    return FLAGS[name].parse(text);
  } catch (error) {
    if (error instanceof BadBoolean)
      throw misused(`invalid boolean value "${text}" for -${name}: ${error.message}`);
    if (error instanceof BadValue)
      throw misused(`invalid value "${text}" for flag -${name}: ${error.message}`);
    throw error;
  }
}

function parseVariable(one: Flag<unknown>, variable: string, text: string): unknown {
  try {
    return one.parse(text);
  } catch (error) {
    if (error instanceof BadValue) throw refused(`invalid value "${text}" for ${variable}: ${error.message}`);
    throw error;
  }
}

function parseKey(path: string, key: string, name: FlagName, text: string): unknown {
  try {
    return FLAGS[name].parse(text);
  } catch (error) {
    if (error instanceof BadValue) {
      throw new StartRefused(
        `error verifying flags, ${path}: invalid value ${JSON.stringify(text)} for ${key}: ${error.message}`,
      );
    }
    throw error;
  }
}

/** Read by others, or by nobody, though they begin like ours. */
const FOREIGN_VARIABLES: ReadonlySet<string> = new Set(['ETCD_CONFIG_FILE', 'ETCD_UNSUPPORTED_ARCH']);

/** Unknown names only warn, as in etcd; those whose meaning would be missed are refused like the flags. */
function checkVariables(env: Environment, warnings: string[]): void {
  const known = new Set(variablesOf().map(([variable]) => variable));
  const refused = new Map(Object.entries(REFUSED).map(([name, why]) => [envOf(name, false), why]));
  const idle = new Map(Object.entries(IDLE).map(([name, why]) => [envOf(name, false), why]));
  for (const [name, text] of Object.entries(env)) {
    if (!/^(ETCD|MUSTER)_/.test(name) || text === undefined || text === '') continue;
    if (known.has(name) || FOREIGN_VARIABLES.has(name)) continue;
    if (refused.has(name)) throw refusedFor(`environment variable ${name}`, refused.get(name) as string);
    if (idle.has(name)) warnings.push(`environment variable ${name} has no effect here: ${idle.get(name)}`);
    else warnings.push(`unrecognized environment variable ${name}=${text}`);
  }
}

function refusedFor(what: string, why: string): StartRefused {
  return new StartRefused(`${what} is not supported: ${why}`);
}

function suggestion(name: string, dashes: string): string {
  const near = nearest(name, knownNames());
  return near === undefined ? '' : `; did you mean ${dashes}${near}?`;
}

/** A mistake in the arguments' form: exit status 2, with the usage, as Go does. */
function misused(message: string, hint = ''): StartRefused {
  return new StartRefused(message, { exitCode: 2, usage: true, hint: hint.replace(/^; d/, 'D') });
}

function refused(message: string): StartRefused {
  return new StartRefused(`error verifying flags, ${message}. See 'muster-server --help'.`);
}

/** What a refused start prints. */
export function refusalText(refusal: StartRefused): string {
  const hint = refusal.hint === '' ? '' : `${refusal.hint}\n`;
  return `${refusal.message}\n${hint}${refusal.usage ? helpText() : ''}`;
}

export { refused as flagsRefused };
