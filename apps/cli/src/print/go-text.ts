/** Values written as Go writes them. */

/** What `goJson` takes: `undefined` members are left out, bytes become base64, `bigint`s bare numbers. */
export type GoValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | readonly GoValue[]
  | { readonly [name: string]: GoValue | undefined };

/** As Go's encoding/json: 64-bit integers bare and exact, `<`, `>`, `&` and the line separators escaped. */
export function goJson(value: GoValue): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return jsonString(value);
  if (typeof value !== 'object') return String(value);
  if (value instanceof Uint8Array) return `"${base64(value)}"`;
  if (Array.isArray(value)) return `[${value.map(goJson).join(',')}]`;
  const members: string[] = [];
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${jsonString(name)}:${goJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

/** Without the members that Go's `omitempty` leaves out. */
export function omitEmpty<T extends { readonly [name: string]: GoValue | undefined }>(
  members: T,
): { [name: string]: GoValue } {
  const kept: { [name: string]: GoValue } = {};
  for (const [name, value] of Object.entries(members)) if (!isEmpty(value)) kept[name] = value as GoValue;
  return kept;
}

function isEmpty(value: GoValue | undefined): boolean {
  if (value === undefined || value === null || value === '' || value === false) return true;
  if (value === 0 || value === 0n) return true;
  return (Array.isArray(value) || value instanceof Uint8Array) && value.length === 0;
}

function jsonString(text: string): string {
  return JSON.stringify(text).replace(
    /[<>&\u2028\u2029]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

const SHORT_ESCAPES: Readonly<Record<number, string>> = {
  7: '\\a',
  8: '\\b',
  9: '\\t',
  10: '\\n',
  11: '\\v',
  12: '\\f',
  13: '\\r',
  34: '\\"',
  92: '\\\\',
};
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** As Go's %q: what cannot be printed is escaped, bytes that are no UTF-8 one by one. */
export function goQuote(value: Uint8Array | string): string {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  let text = '"';
  for (let i = 0; i < bytes.length; ) {
    const size = sequenceLength(bytes, i);
    if (size === 0) {
      text += `\\x${hex(bytes[i] as number, 2)}`;
      i++;
      continue;
    }
    text += quotedPoint(codePointAt(bytes, i, size));
    i += size;
  }
  return `${text}"`;
}

function quotedPoint(point: number): string {
  const short = SHORT_ESCAPES[point];
  if (short) return short;
  const letter = String.fromCodePoint(point);
  if (PRINTABLE.test(letter)) return letter;
  if (point < 0x80) return `\\x${hex(point, 2)}`;
  return point < 0x10000 ? `\\u${hex(point, 4)}` : `\\U${hex(point, 8)}`;
}

/** Bytes of the valid UTF-8 sequence here; 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number;
  const size =
    lead < 0x80
      ? 1
      : lead >= 0xc2 && lead < 0xe0
        ? 2
        : lead >= 0xe0 && lead < 0xf0
          ? 3
          : lead >= 0xf0 && lead < 0xf5
            ? 4
            : 0;
  if (size === 0 || at + size > bytes.length) return 0;
  for (let i = 1; i < size; i++) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return 0;
  const point = codePointAt(bytes, at, size);
  const least = [0, 0, 0x80, 0x800, 0x10000][size] as number;
  return point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : size;
}

function codePointAt(bytes: Uint8Array, at: number, size: number): number {
  const lead = bytes[at] as number;
  if (size === 1) return lead;
  let point = lead & (0xff >> (size + 1));
  for (let i = 1; i < size; i++) point = (point << 6) | ((bytes[at + i] as number) & 0x3f);
  return point;
}

/** `\x61\x62`, as --hex prints keys and values. */
export function hexEscaped(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += `\\x${hex(byte, 2)}`;
  return text;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** Decimal units: `20 kB`, `1.5 MB`. */
export function humanBytes(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  const power = Math.min(SIZE_UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1000)));
  const value = Math.floor((bytes / 1000 ** power) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : halfToEven(value)} ${SIZE_UNITS[power]}`;
}

/** Go's %.0f. */
function halfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}
