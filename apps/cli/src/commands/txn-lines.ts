import type { Compare, CompareResult, RequestOp } from '@muster/kv';
import { Exit, Failure } from '../failure.ts';
import type { Group } from '../line/command.ts';
import { type FlagValues, parseSafeInt } from '../line/flag.ts';
import { parseLine } from '../line/parse.ts';
import { hexOf } from '../numbers.ts';
import { bytesOf } from '../range.ts';
import { type DEL_FLAGS, type GET_FLAGS, KV_COMMANDS, type PUT_FLAGS } from '../tree/kv.ts';
import { deleteRequest, getRequest, putRequest } from './kv.ts';

const TARGETS: ReadonlyMap<string, 'version' | 'create' | 'mod' | 'value' | 'lease'> = new Map([
  ['ver', 'version'],
  ['version', 'version'],
  ['c', 'create'],
  ['create', 'create'],
  ['m', 'mod'],
  ['mod', 'mod'],
  ['val', 'value'],
  ['value', 'value'],
  ['lease', 'lease'],
]);
const RESULTS: ReadonlyMap<string, CompareResult> = new Map([
  ['=', 'equal'],
  ['!=', 'notEqual'],
  ['<', 'less'],
  ['>', 'greater'],
]);

/** `mod("key") > "0"`: target, quoted key, one of = != < >, quoted operand. */
export function parseCompare(line: string): Compare {
  const malformed = (detail = '') =>
    new Failure(`malformed comparison: ${line}${detail}`, Exit.INVALID_INPUT);
  const match = /^\s*(\w+)\(\s*("(?:[^"\\]|\\.)*")\s*\)\s*([^\s"\w]+)\s*("(?:[^"\\]|\\.)*")\s*$/.exec(line);
  if (!match) throw malformed('; expected target("key") operator "operand"');
  const [, name, quotedKey, operator, quotedOperand] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
  ];
  const target = TARGETS.get(name);
  if (!target) throw malformed(` (unknown target ${name})`);
  const result = RESULTS.get(operator);
  if (result === undefined) throw malformed(` (unknown operator ${operator}, expected =, !=, < or >)`);
  const key = unquote(quotedKey);
  const operand = unquote(quotedOperand);
  if (!key || !operand) throw malformed(' (bad escape in a quoted text)');
  return { key, target, result, operand: operandOf(target, operand, line) };
}

function operandOf(
  target: 'version' | 'create' | 'mod' | 'value' | 'lease',
  operand: Uint8Array,
  line: string,
): NonNullable<Compare['operand']> {
  if (target === 'value') return { kind: 'value', bytes: operand };
  const text = Buffer.from(operand).toString();
  const invalid = () => new Failure(`invalid txn compare request: ${line}`, Exit.INVALID_INPUT);
  if (target === 'lease') {
    const id = hexOf(text, 'ParseInt');
    if (typeof id !== 'bigint') throw invalid();
    return { kind: 'lease', id };
  }
  const number = parseSafeInt(text);
  if (typeof number !== 'number') throw invalid();
  return { kind: target, number };
}

const OPERATIONS: Group = { name: 'txn', summary: '', children: KV_COMMANDS };

/** `put k v`, `get k`, `del k` with the flags that these commands have. */
export function parseOperation(line: string): RequestOp {
  const words = splitWords(line);
  const invalid = (reason: string) =>
    new Failure(`invalid txn request: ${line} (${reason})`, Exit.INVALID_INPUT);
  if (!words) throw invalid('unbalanced quotes');
  const verb = words[0];
  if (verb !== 'put' && verb !== 'get' && verb !== 'del') throw invalid('expected put, get or del');
  const { args, values } = parseWords(words, invalid);
  if (verb === 'put') return { type: 'put', put: putRequest(args, values as FlagValues<typeof PUT_FLAGS>) };
  if (verb === 'get') {
    return { type: 'range', range: getRequest(args, values as FlagValues<typeof GET_FLAGS>) };
  }
  const deleteRange = deleteRequest(args, values as FlagValues<typeof DEL_FLAGS>);
  return { type: 'deleteRange', deleteRange };
}

function parseWords(words: readonly string[], invalid: (reason: string) => Failure) {
  try {
    return parseLine(OPERATIONS, {}, words);
  } catch (error) {
    if (error instanceof Failure) throw invalid(error.message.split('\n')[0] as string);
    throw error;
  }
}

/** As a shell would: "double quotes" with Go's escapes, 'single quotes' as they are. Undefined if unbalanced. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = [];
  const pattern = /\s*(?:("(?:[^"\\]|\\.)*")|'([^']*)'|([^\s'"]\S*))/y;
  while (pattern.lastIndex < line.trimEnd().length) {
    const match = pattern.exec(line);
    if (!match) return undefined;
    if (match[1] !== undefined) {
      const bytes = unquote(match[1]);
      if (!bytes) return undefined;
      words.push(Buffer.from(bytes).toString());
    } else words.push(match[2] ?? (match[3] as string));
  }
  return words;
}

const ESCAPES: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  '"': 34,
  "'": 39,
  '\\': 92,
};

/** The bytes of a text in Go's double quotes; undefined for an escape that Go does not know. */
function unquote(quoted: string): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  const body = quoted.slice(1, -1);
  const pattern =
    /\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\([0-7]{3})|\\(.)|([^\\]+)/gsu;
  for (const match of body.matchAll(pattern)) {
    const [, byte, short, long, octal, letter, text] = match;
    if (text !== undefined) parts.push(bytesOf(text));
    else if (byte !== undefined) parts.push(Uint8Array.of(Number.parseInt(byte, 16)));
    else if (octal !== undefined) parts.push(Uint8Array.of(Number.parseInt(octal, 8) & 0xff));
    else if (short !== undefined || long !== undefined) {
      const point = Number.parseInt((short ?? long) as string, 16);
      if (point > 0x10ffff) return undefined;
      parts.push(bytesOf(String.fromCodePoint(point)));
    } else {
      const escaped = ESCAPES[letter as string];
      if (escaped === undefined) return undefined;
      parts.push(Uint8Array.of(escaped));
    }
  }
  return Uint8Array.from(Buffer.concat(parts));
}
