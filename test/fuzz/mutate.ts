/** Inputs that are almost right: valid ones, changed a little, out of one seed. */
import type { Prng } from '@muster/base';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const ODD_NUMBERS = [0, -1, 1, 1.5, -0, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 1e308, -(2 ** 63)];
const ODD_TEXTS = [
  '',
  '\0',
  'AA==',
  'not base64!',
  '9223372036854775807',
  '-9223372036854775808',
  '18446744073709551616',
  '1e3',
  '٣',
  '\ud800',
  '../..',
  '__proto__',
  'constructor',
  'x'.repeat(5000),
];

/** Bytes of random length, short ones most often. */
export function randomBytes(prng: Prng, max: number): Uint8Array {
  const length = Math.min(max, Math.floor(prng.exponential(max / 8)));
  return Uint8Array.from({ length }, () => prng.int(0, 256));
}

/** A few bytes flipped, cut out, doubled, put in, or the end cut off. */
export function mutateBytes(prng: Prng, bytes: Uint8Array): Uint8Array {
  let out = Uint8Array.from(bytes);
  for (let n = prng.int(1, 5); n > 0; n--) {
    const at = out.length === 0 ? 0 : prng.int(0, out.length);
    const end = Math.min(out.length, at + prng.int(1, 9));
    switch (prng.int(0, 5)) {
      case 0:
        if (out.length > 0) out[at] = (out[at] as number) ^ (1 << prng.int(0, 8));
        break;
      case 1:
        out = joined(out.subarray(0, at), out.subarray(end));
        break;
      case 2:
        out = joined(out.subarray(0, end), out.subarray(at));
        break;
      case 3:
        out = joined(out.subarray(0, at), randomBytes(prng, 64), out.subarray(at));
        break;
      default:
        out = out.slice(0, at);
    }
  }
  return out;
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

function randomJson(prng: Prng, depth = 3): Json {
  switch (prng.int(0, depth > 0 ? 8 : 5)) {
    case 0:
      return null;
    case 1:
      return prng.chance(0.5);
    case 2:
      return prng.pick(ODD_NUMBERS);
    case 3:
    case 4:
      return prng.pick(ODD_TEXTS);
    case 5:
    case 6:
      return Array.from({ length: prng.int(0, 4) }, () => randomJson(prng, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: prng.int(0, 4) }, () => [prng.pick(ODD_TEXTS), randomJson(prng, depth - 1)]),
      );
  }
}

/** One value somewhere inside replaced, removed, doubled or wrapped. */
export function mutateJson(prng: Prng, value: Json): Json {
  if (typeof value !== 'object' || value === null || prng.chance(0.2)) return randomJson(prng);
  if (Array.isArray(value)) {
    const at = value.length === 0 ? 0 : prng.int(0, value.length);
    const inner = value[at];
    const changed = inner === undefined ? randomJson(prng) : mutateJson(prng, inner);
    return prng.chance(0.3) ? [...value, ...value] : value.toSpliced(at, 1, changed);
  }
  const keys = Object.keys(value);
  const key = keys.length === 0 || prng.chance(0.1) ? prng.pick(ODD_TEXTS) : prng.pick(keys);
  const { [key]: inner, ...rest } = value;
  if (prng.chance(0.15)) return rest;
  return { ...rest, [key]: inner === undefined ? randomJson(prng) : mutateJson(prng, inner) };
}

/** JSON text that may be broken as text, too. */
export function jsonText(prng: Prng, template: Json): string {
  let value = template;
  if (prng.chance(0.3)) return JSON.stringify(value);
  for (let n = prng.int(0, 4); n > 0; n--) value = mutateJson(prng, value);
  const text = JSON.stringify(value) ?? '';
  if (prng.chance(0.7)) return text;
  if (prng.chance(0.1)) return '['.repeat(prng.int(1, 20_000));
  return Buffer.from(mutateBytes(prng, Buffer.from(text))).toString('latin1');
}
