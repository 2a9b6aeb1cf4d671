/** From arguments and environment to typed values, by the rules of Go's flag package and etcd's environment. */
import { BadBoolean, BadValue } from './flag-values.ts';
import {
  envOf,
  FLAGS,
  type Flag,
  type FlagName,
  type FlagValues,
  helpText,
  NOT_YET,
  WITHOUT_EFFECT,
  WITHOUT_EFFECT_BOOLEAN,
} from './flags.ts';

/** A start that was refused: what to print, and the exit status. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
  readonly exitCode: number;
  /** Print the usage too. */
  readonly usage: boolean;

  constructor(message: string, options: { readonly exitCode?: number; readonly usage?: boolean } = {}) {
    super(message);
    this.exitCode = options.exitCode ?? 1;
    this.usage = options.usage ?? false;
  }
}

export type CommandLine = {
  readonly values: FlagValues;
  /** Named by a flag or a variable, not left at the default. */
  readonly given: ReadonlySet<FlagName>;
  /** Worth a line in the log once there is one. */
  readonly warnings: readonly string[];
};

/** `argv` without the program's own name. Throws `StartRefused`. */
export function readCommandLine(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): CommandLine {
  const warnings: string[] = [];
  const texts = readArguments(argv, warnings);
  const values: Record<string, unknown> = {};
  const given = new Set<FlagName>();
  for (const [name, text] of texts) {
    values[name] = parseFlag(name, text);
    given.add(name);
  }
  for (const name of Object.keys(FLAGS) as FlagName[]) {
    const one: Flag<unknown> = FLAGS[name];
    const variable = envOf(name, one.own);
    const text = env[variable];
    if (text !== undefined && text !== '' && name !== 'version' && name !== 'help') {
      if (given.has(name)) {
        warnings.push(`environment variable ${variable} is shadowed by flag --${name}`);
      } else {
        values[name] = parseVariable(one, variable, text);
        given.add(name);
      }
    }
    if (!given.has(name)) values[name] = one.parse(one.fallback);
  }
  checkVariables(env, warnings);
  return { values: values as FlagValues, given, warnings };
}

/** Go stops at the first argument that is not a flag; etcd refuses it. The last of a repeated flag counts. */
function readArguments(argv: readonly string[], warnings: string[]): Map<FlagName, string> {
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
    else if (Object.hasOwn(FLAGS, name)) texts.set(name as FlagName, text);
    else if (WITHOUT_EFFECT.has(name)) warnings.push(`flag --${name} has no effect here`);
    else if (NOT_YET.has(name)) throw new StartRefused(notYet(`flag --${name}`));
    else throw misused(`flag provided but not defined: -${name}`);
  }
  return texts;
}

function isKnown(name: string): boolean {
  return Object.hasOwn(FLAGS, name) || WITHOUT_EFFECT.has(name) || NOT_YET.has(name);
}

function isBoolean(name: string): boolean {
  if (Object.hasOwn(FLAGS, name)) return FLAGS[name as FlagName].boolean;
  return !isKnown(name) || WITHOUT_EFFECT_BOOLEAN.has(name);
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

/** Unknown names only warn, as in etcd; those whose meaning would be missed are refused like the flags. */
function checkVariables(env: Readonly<Record<string, string | undefined>>, warnings: string[]): void {
  const known = new Set(Object.entries<Flag<unknown>>(FLAGS).map(([name, one]) => envOf(name, one.own)));
  const notYetVariables = new Set([...NOT_YET].map((name) => envOf(name, false)));
  const idle = new Set([...WITHOUT_EFFECT].map((name) => envOf(name, false)));
  for (const [name, text] of Object.entries(env)) {
    if (!/^(ETCD|MUSTER)_/.test(name) || text === undefined || text === '' || known.has(name)) continue;
    if (notYetVariables.has(name)) throw new StartRefused(notYet(`environment variable ${name}`));
    if (idle.has(name)) warnings.push(`environment variable ${name} has no effect here`);
    else warnings.push(`unrecognized environment variable ${name}=${text}`);
  }
}

function notYet(what: string): string {
  return `${what} is not supported by this version of Muster; expected a start without it`;
}

/** A mistake in the arguments' form: exit status 2, with the usage, as Go does. */
function misused(message: string): StartRefused {
  return new StartRefused(message, { exitCode: 2, usage: true });
}

function refused(message: string): StartRefused {
  return new StartRefused(`error verifying flags, ${message}. See 'muster-server --help'.`);
}

/** What a refused start prints. */
export function refusalText(refusal: StartRefused): string {
  return refusal.usage ? `${refusal.message}\n${helpText()}` : `${refusal.message}\n`;
}

export { refused as flagsRefused };
