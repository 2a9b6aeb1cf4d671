import { JsonScanner } from './json-scanner.ts';
import { invalidArgument } from './status-error.ts';

/** A number kept as it was written, where a double could not hold it or its spelling matters. */
export class RawNumber {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
}

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | RawNumber
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** A number that `JSON.parse` would change: 16 digits or more, a fraction or an exponent. Strings may match, in vain. */
const INEXACT = /[:[,\s]-?(?:\d{16}|\d+[.eE])|^-?\d/;

/**
 * The first JSON value of `text`, whatever follows it; `undefined` when there is none. Numbers come as whole doubles
 * that are exact, or as `RawNumber`. Throws code 3 with Go's text.
 */
export function parseFirst(text: string): JsonValue | undefined {
  if (!INEXACT.test(text)) {
    try {
      return JSON.parse(text) as JsonValue;
    } catch {
      // Below: either something follows the first value, or the fault gets Go's words.
    }
  }
  const scanner = new JsonScanner();
  const found = scanner.scan(text, 0);
  if (found.type === 'error') throw invalidArgument(found.text);
  if (found.type === 'value') return parseExact(text.slice(0, found.end));
  switch (scanner.finish()) {
    case 'nothing':
      return undefined;
    case 'truncated':
      throw invalidArgument('unexpected EOF');
    case 'value':
      return parseExact(text);
  }
}

/** `text` is one whole value. */
export function parseExact(text: string): JsonValue {
  if (!INEXACT.test(text)) return JSON.parse(text) as JsonValue;
  try {
    return JSON.parse(text, reviveNumber) as JsonValue;
  } catch (error) {
    // A reviver recurses: only nesting that no request has can get here.
    if (error instanceof RangeError) throw invalidArgument('exceeded max depth');
    throw error;
  }
}

function reviveNumber(_key: string, value: unknown, context?: { readonly source: string }): unknown {
  return typeof value === 'number' && context !== undefined ? new RawNumber(context.source) : value;
}

/** Go's `json.Unmarshal` of a whole text: one value and nothing but blanks around it. */
export function parseWhole(text: string): JsonValue {
  const scanner = new JsonScanner();
  const found = scanner.scan(text, 0);
  if (found.type === 'error') throw invalidArgument(found.text);
  if (found.type === 'more') {
    if (scanner.finish() === 'value') return parseExact(text);
    throw invalidArgument(scanner.error || 'unexpected end of JSON input');
  }
  const rest = text.slice(found.end).trimStart();
  if (rest !== '') throw invalidArgument(`invalid character '${rest[0]}' after top-level value`);
  return parseExact(text);
}

/** What Go's messages call a value. */
export function kindOf(value: JsonValue): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number' || value instanceof RawNumber) return 'number';
  if (typeof value === 'string') return 'string';
  return Array.isArray(value) ? 'array' : 'object';
}
