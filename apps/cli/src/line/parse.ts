import { nearest } from '@muster/base';
import { Exit, Failure } from '../failure.ts';
import { type Command, type Group, isGroup, type Verb } from './command.ts';
import { BadFlagValue, bool, type Flag, type Flags } from './flag.ts';

type Parsed = {
  /** Names from below the root to the command. */
  readonly path: readonly string[];
  readonly command: Command;
  readonly args: readonly string[];
  readonly dashAt: number | undefined;
  /** Every flag of the verb and every global one, defaults filled in. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Those that the line named. */
  readonly given: ReadonlySet<string>;
  readonly help: boolean;
};

const HELP: Flags = { help: bool('print this', false, { short: 'h' }) };

/**
 * Reads a command line as Go's pflag does: flags and arguments in any order, `--flag=value` and `--flag value`, `-w=x`,
 * `-wx` and `-w x`, joined letters, a bare boolean is true and takes its value only behind `=`, `--` ends the flags.
 */
export function parseLine(root: Group, globals: Flags, argv: readonly string[]): Parsed {
  return new LineParser(root, globals, argv).parse();
}

class LineParser {
  readonly #globals: Flags;
  readonly #argv: readonly string[];
  readonly #root: Group;
  readonly #texts = new Map<string, unknown>();
  readonly #path: string[] = [];
  readonly #args: string[] = [];
  #command: Command;
  #at = 0;
  #dashAt: number | undefined;

  constructor(root: Group, globals: Flags, argv: readonly string[]) {
    this.#root = root;
    this.#command = root;
    this.#globals = globals;
    this.#argv = argv;
  }

  parse(): Parsed {
    while (this.#at < this.#argv.length) {
      const word = this.#argv[this.#at++] as string;
      if (this.#dashAt !== undefined) this.#args.push(word);
      else if (word === '--') this.#dashAt = this.#args.length;
      else if (word.startsWith('--')) this.#long(word.slice(2));
      else if (word.startsWith('-') && word.length > 1) this.#short(word.slice(1));
      else this.#word(word);
    }
    const flags: Flags = { ...this.#globals, ...flagsOf(this.#command) };
    const values: Record<string, unknown> = {};
    for (const [name, flag] of Object.entries(flags)) {
      values[name] = this.#texts.has(name) ? this.#texts.get(name) : flag.fallback;
    }
    return {
      path: this.#path,
      command: this.#command,
      args: this.#args,
      dashAt: this.#dashAt,
      values,
      given: new Set(this.#texts.keys()),
      help: this.#texts.get('help') === true,
    };
  }

  #word(word: string): void {
    if (!isGroup(this.#command)) {
      this.#args.push(word);
      return;
    }
    if (word === 'help' && this.#path.length === 0) {
      this.#texts.set('help', true);
      return;
    }
    const child = this.#command.children.find((one) => one.name === word);
    if (!child) {
      const where = [this.#root.name, ...this.#path].join(' ');
      const near = nearest(
        word,
        this.#command.children.map((one) => one.name),
      );
      throw new Failure(
        `unknown command "${word}" for "${where}"${near ? `\n\nDid you mean this?\n\t${near}\n` : ''}` +
          `\nRun '${where} --help' for usage.`,
      );
    }
    this.#command = child;
    this.#path.push(word);
  }

  #long(body: string): void {
    const equals = body.indexOf('=');
    const name = equals < 0 ? body : body.slice(0, equals);
    const flag = this.#flag(name);
    if (!flag) {
      const near = nearest(name, Object.keys({ ...this.#globals, ...flagsOf(this.#command) }));
      throw this.#refused(`unknown flag: --${name}${near ? `, did you mean --${near}?` : ''}`);
    }
    if (equals >= 0) this.#set(name, flag, body.slice(equals + 1), `--${name}`);
    else if (flag.kind === 'bool') this.#texts.set(name, true);
    else this.#set(name, flag, this.#next(`--${name}`), `--${name}`);
  }

  #short(letters: string): void {
    for (let i = 0; i < letters.length; i++) {
      const letter = letters[i] as string;
      const [name, flag] = this.#byLetter(letter) ?? [];
      if (!name || !flag) throw this.#refused(`unknown shorthand flag: '${letter}' in -${letters}`);
      const rest = letters.slice(i + 1);
      const shown = `-${letter}, --${name}`;
      if (rest.startsWith('=')) return this.#set(name, flag, rest.slice(1), shown);
      if (flag.kind === 'bool') {
        this.#texts.set(name, true);
        continue;
      }
      return this.#set(name, flag, rest !== '' ? rest : this.#next(`'${letter}' in -${letters}`), shown);
    }
  }

  #next(shown: string): string {
    if (this.#at >= this.#argv.length) throw this.#refused(`flag needs an argument: ${shown}`);
    return this.#argv[this.#at++] as string;
  }

  #set(name: string, flag: Flag, text: string, shown: string): void {
    try {
      const value = flag.parse(text);
      const before = this.#texts.get(name);
      const joined = flag.kind === 'strings' && Array.isArray(before);
      this.#texts.set(name, joined ? [...(before as string[]), ...(value as string[])] : value);
    } catch (error) {
      if (!(error instanceof BadFlagValue)) throw error;
      throw this.#refused(
        `invalid argument ${JSON.stringify(text)} for "${shown}" flag: ${(error as Error).message}`,
      );
    }
  }

  #flag(name: string): Flag | undefined {
    const flags = flagsOf(this.#command);
    for (const table of [flags, this.#globals, HELP]) if (Object.hasOwn(table, name)) return table[name];
    return undefined;
  }

  #byLetter(letter: string): readonly [string, Flag] | undefined {
    const all = { ...HELP, ...this.#globals, ...flagsOf(this.#command) };
    return Object.entries(all).find(([, flag]) => flag.short === letter);
  }

  #refused(message: string): Failure {
    const where = [this.#root.name, ...this.#path].join(' ');
    return new Failure(`${message}\nRun '${where} --help' for usage.`, Exit.ERROR);
  }
}

function flagsOf(command: Command): Flags {
  return isGroup(command) ? {} : (command as Verb).flags;
}
