import { type Duration, parseDuration } from './duration.ts';

/** How a flag's text becomes a value; `noValue` is what the bare flag stands for. */
export type Flag<T = unknown> = {
  readonly kind: 'bool' | 'string' | 'int' | 'duration' | 'strings';
  readonly fallback: T;
  readonly help: string;
  readonly short?: string;
  /** Files, when completed by a shell. */
  readonly file?: boolean;
  readonly choices?: readonly string[];
  parse(text: string): T;
};

export type Flags = Readonly<Record<string, Flag>>;
export type FlagValues<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

type Extra = Pick<Flag, 'short' | 'file' | 'choices'>;

/** The reason a flag's text was refused, as Go's strconv words it. */
export class BadFlagValue extends Error {}

const BOOLEANS = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
]);

export function bool(help: string, fallback = false, extra: Extra = {}): Flag<boolean> {
  return {
    kind: 'bool',
    fallback,
    help,
    ...extra,
    parse: (text) => {
      const value = BOOLEANS.get(text);
      if (value === undefined) {
        throw new BadFlagValue(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
      }
      return value;
    },
  };
}

export function string(help: string, fallback = '', extra: Extra = {}): Flag<string> {
  return { kind: 'string', fallback, help, ...extra, parse: (text) => text };
}

/** A decimal number that is a safe integer. */
export function int(help: string, fallback = 0): Flag<number> {
  return { kind: 'int', fallback, help, parse: parseIntFlag };
}

function parseIntFlag(text: string): number {
  const parsed = parseSafeInt(text);
  if (typeof parsed === 'number') return parsed;
  throw new BadFlagValue(parsed.reason);
}

/** As Go's ParseInt(text, 10, 64), narrowed to what a revision or a count can be. */
export function parseSafeInt(text: string): number | { readonly reason: string } {
  const quoted = JSON.stringify(text);
  if (!/^[+-]?[0-9]+$/.test(text)) return { reason: `strconv.ParseInt: parsing ${quoted}: invalid syntax` };
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    return { reason: `strconv.ParseInt: parsing ${quoted}: value out of range` };
  }
  return value;
}

export function duration(help: string, fallback: string): Flag<Duration> {
  return {
    kind: 'duration',
    fallback: parseDuration(fallback) as Duration,
    help,
    parse: (text) => {
      const value = parseDuration(text);
      if (value === undefined) throw new BadFlagValue(`time: invalid duration ${JSON.stringify(text)}`);
      return value;
    },
  };
}

/** Comma-separated. */
export function strings(help: string, fallback: readonly string[] = []): Flag<readonly string[]> {
  return {
    kind: 'strings',
    fallback,
    help,
    parse: (text) => (text === '' ? [] : text.split(',').map((part) => part.trim())),
  };
}
