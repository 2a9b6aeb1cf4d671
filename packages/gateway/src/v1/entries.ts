/** Keys and values as JSON and as raw bodies. */
import { utf8TextOrUndefined } from '@muster/base';
import { type EntryResource, idToHex, toBase64 } from '@muster/contract';
import type { KeyValue } from '@muster/kv';
import { JSON_DEPTH_MAX, jsonDepth } from './json-depth.ts';

export type Encoding = 'auto' | 'base64' | 'json';
type KeyName = { key: string } | { keyBase64: string };

/** A key as JSON carries it: text when it is UTF-8, else base64. */
export function keyName(key: Uint8Array): KeyName {
  const text = utf8TextOrUndefined(key);
  return text === undefined ? { keyBase64: toBase64(key) } : { key: text };
}

/** `keysOnly` leaves the value out. */
export function entryOf(kv: KeyValue, encoding: Encoding = 'auto', keysOnly = false): EntryResource {
  return {
    ...keyName(kv.key),
    ...(keysOnly ? {} : valueMembers(kv.value, encoding)),
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    version: kv.version,
    ...(kv.lease === 0n ? {} : { lease: idToHex(kv.lease) }),
  };
}

function valueMembers(
  value: Uint8Array,
  encoding: Encoding,
): Pick<EntryResource, 'value' | 'valueBase64' | 'json'> {
  if (encoding === 'base64') return { valueBase64: toBase64(value) };
  const text = utf8TextOrUndefined(value);
  if (text === undefined) return { valueBase64: toBase64(value) };
  if (encoding === 'json' && jsonDepth(value) <= JSON_DEPTH_MAX) {
    try {
      return { json: JSON.parse(text) };
    } catch {
      return { value: text };
    }
  }
  return { value: text };
}

const BRACE = 0x7b;
const BRACKET = 0x5b;

/**
 * The content type of a raw answer, told from the value itself, so that it is the same whichever way the value came
 * in: a JSON object or array, other text, or bytes. Nothing is ever sent as a type that a browser would run.
 */
export function contentTypeOf(value: Uint8Array): string {
  const text = utf8TextOrUndefined(value);
  if (text === undefined) return 'application/octet-stream';
  let first = 0;
  while (value[first] === 0x20 || value[first] === 0x0a || value[first] === 0x0d || value[first] === 0x09)
    first++;
  if (value[first] === BRACE || value[first] === BRACKET) {
    try {
      JSON.parse(text);
      return 'application/json';
    } catch {
      return 'text/plain; charset=utf-8';
    }
  }
  return 'text/plain; charset=utf-8';
}
