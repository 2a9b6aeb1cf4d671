/**
 * Requests out of JSON by tables: one `MessageSpec` per protobuf message, in the order of its fields, which is the
 * order in which faults are found. The rules and texts are those of the JSON codec of etcd 3.4 and 3.5.
 */
import { decodeBase64 } from './base64.ts';
import { type JsonValue, kindOf, parseWhole, RawNumber } from './json-value.ts';
import { invalidArgument } from './status-error.ts';

type FieldKind =
  | 'bytes'
  | 'string'
  | 'bool'
  /** int64 as a bigint. */
  | 'int64'
  /** int64 as a number; one outside the safe integers is taken as the nearest of these. */
  | 'count'
  | 'uint64'
  | 'enum'
  | 'message';

type EnumSpec = { readonly type: string; readonly numbers: Readonly<Record<string, number>> };

type FieldSpec = {
  /** As in the proto. */
  readonly name: string;
  /** lowerCamelCase; taken too, and preferred. */
  readonly camel: string;
  /** Where the decoded value goes. */
  readonly to: string;
  readonly kind: FieldKind;
  readonly repeated: boolean;
  readonly enumeration?: EnumSpec;
  /** A function, because a txn holds txns. */
  readonly message?: () => MessageSpec;
};

export type MessageSpec = { readonly fields: readonly FieldSpec[] };

/** Decoded fields by `FieldSpec.to`; what the request left out is absent. */
export type Decoded = { [to: string]: unknown };

type FieldOptions = { readonly to?: string; readonly repeated?: boolean };

/** A field table entry. `to` is the camelCase name unless given. */
export function field(
  name: string,
  kind: Exclude<FieldKind, 'enum' | 'message'>,
  options: FieldOptions = {},
): FieldSpec {
  const camel = camelCase(name);
  return { name, camel, to: options.to ?? camel, kind, repeated: options.repeated ?? false };
}

export function enumField(name: string, enumeration: EnumSpec, options: FieldOptions = {}): FieldSpec {
  return { ...field(name, 'bytes', options), kind: 'enum', enumeration };
}

export function messageField(
  name: string,
  message: () => MessageSpec,
  options: FieldOptions = {},
): FieldSpec {
  return { ...field(name, 'bytes', options), kind: 'message', message };
}

export function enumSpec(type: string, names: readonly string[]): EnumSpec {
  return { type, numbers: Object.fromEntries(names.map((name, number) => [name, number])) };
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Nesting of messages (txns within txns); etcd's own limit on operations is met long before. */
const MAX_MESSAGE_DEPTH = 1000;

/** Throws code 3 with Go's text. `undefined` and null are an empty message. */
export function decodeMessage(spec: MessageSpec, value: JsonValue | undefined, depth = 0): Decoded {
  const out: Decoded = {};
  if (value === undefined || value === null) return out;
  if (depth > MAX_MESSAGE_DEPTH) throw invalidArgument('exceeded max depth');
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof RawNumber) {
    throw cannot(value, 'map[string]json.RawMessage');
  }
  const object = value as { readonly [name: string]: JsonValue };
  for (const spec_ of spec.fields) {
    let raw = object[spec_.camel];
    if (raw === undefined && spec_.camel !== spec_.name) raw = object[spec_.name];
    if (raw === undefined || raw === null) continue;
    out[spec_.to] = spec_.repeated ? decodeList(spec_, raw, depth) : decodeField(spec_, raw, depth);
  }
  return out;
}

function decodeList(spec: FieldSpec, value: JsonValue, depth: number): unknown[] {
  if (!Array.isArray(value)) throw cannot(value, '[]json.RawMessage');
  return value.map((item: JsonValue) => {
    // etcd drops the connection here.
    if (item === null && spec.kind === 'message') {
      throw invalidArgument(`proto: repeated field ${spec.name} has nil element`);
    }
    return decodeField(spec, item, depth);
  });
}

function decodeField(spec: FieldSpec, value: JsonValue, depth: number): unknown {
  switch (spec.kind) {
    case 'bytes':
      return typeof value === 'string' ? decodeBase64(value) : decodeByteList(value);
    case 'string':
      if (typeof value !== 'string') throw cannot(value, 'string');
      return value;
    case 'bool':
      if (typeof value !== 'boolean') throw cannot(value, 'bool');
      return value;
    case 'count':
      return typeof value === 'number' ? value : nearestSafe(decodeInteger(value, INT64));
    case 'int64':
      return decodeInteger(value, INT64);
    case 'uint64':
      return decodeInteger(value, UINT64);
    case 'enum':
      return decodeEnum(spec.enumeration as EnumSpec, value);
    case 'message':
      return decodeMessage((spec.message as () => MessageSpec)(), value, depth + 1);
  }
}

/** Go reads an array of small numbers as bytes too. */
function decodeByteList(value: JsonValue): Uint8Array {
  if (!Array.isArray(value)) throw cannot(value, '[]uint8');
  return Uint8Array.from(value, (item: JsonValue) => Number(decodePlainInteger(item, UINT8)));
}

type IntegerType = { readonly type: string; readonly min: bigint; readonly max: bigint };
const INT64: IntegerType = { type: 'int64', min: -(2n ** 63n), max: 2n ** 63n - 1n };
const UINT64: IntegerType = { type: 'uint64', min: 0n, max: 2n ** 64n - 1n };
const UINT8: IntegerType = { type: 'uint8', min: 0n, max: 255n };

const INTEGER = /^-?(?:0|[1-9]\d*)$/;

/** A number, or a string that holds one; Go reads what is in the string as JSON again. */
function decodeInteger(value: JsonValue, integer: IntegerType): bigint {
  if (typeof value !== 'string') return decodePlainInteger(value, integer);
  if (INTEGER.test(value)) return inRange(value, integer);
  // It reads the string as it stood in the request, with its escapes.
  return decodePlainInteger(parseWhole(JSON.stringify(value).slice(1, -1)), integer);
}

function nearestSafe(value: bigint): number {
  const { MAX_SAFE_INTEGER, MIN_SAFE_INTEGER } = Number;
  return Math.min(MAX_SAFE_INTEGER, Math.max(MIN_SAFE_INTEGER, Number(value)));
}

function decodePlainInteger(value: JsonValue, integer: IntegerType): bigint {
  if (value === null) return 0n;
  if (typeof value === 'number') return inRange(String(value), integer);
  if (value instanceof RawNumber) return inRange(value.source, integer);
  throw cannot(value, integer.type);
}

function inRange(source: string, integer: IntegerType): bigint {
  // Longer than any 64-bit number: not worth converting.
  const number = source.length <= 20 && INTEGER.test(source) ? BigInt(source) : undefined;
  if (number === undefined || number < integer.min || number > integer.max) {
    throw invalidArgument(`json: cannot unmarshal number ${source} into Go value of type ${integer.type}`);
  }
  return number;
}

function decodeEnum(enumeration: EnumSpec, value: JsonValue): number {
  if (typeof value === 'string') {
    const number = Object.hasOwn(enumeration.numbers, value) ? enumeration.numbers[value] : undefined;
    if (number !== undefined) return number;
    throw invalidArgument(`unknown value ${JSON.stringify(value)} for enum ${enumeration.type}`);
  }
  const int32 = { type: enumeration.type, min: -(2n ** 31n), max: 2n ** 31n - 1n };
  return Number(decodePlainInteger(value, int32));
}

function cannot(value: JsonValue, type: string): Error {
  return invalidArgument(`json: cannot unmarshal ${kindOf(value)} into Go value of type ${type}`);
}
