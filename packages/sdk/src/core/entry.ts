import { type EntryResource, fromBase64 } from '@muster/contract';
import type { Codec, RawValue } from './codec.ts';
import { MusterError } from './errors.ts';

/** A key, and its value decoded. */
export type Entry<T> = {
  /** As text. Of a key that is not UTF-8 the bytes are in `keyBytes` and this is for display only. */
  readonly key: string;
  readonly keyBytes?: Uint8Array;
  readonly value: T;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Changes since the key was created, this one included. */
  readonly version: number;
  /** 16 hex digits; absent when the key hangs on no lease. */
  readonly leaseId?: string;
};

/** A key: text, or the bytes themselves. */
export type Key = string | Uint8Array;

/** One name per key, different for text and for bytes that only look like it. */
export function wireKeyIdentity(wire: {
  readonly key?: string | undefined;
  readonly keyBase64?: string | undefined;
}): string {
  return wire.keyBase64 === undefined ? `k${wire.key ?? ''}` : `b${wire.keyBase64}`;
}

/** What `wireKeyIdentity` made, taken apart again. */
export function keyOfIdentity(identity: string): { key: string; keyBytes?: Uint8Array } {
  return keyOfWire(identity[0] === 'b' ? { keyBase64: identity.slice(1) } : { key: identity.slice(1) });
}

function keyOfWire(wire: { readonly key?: string | undefined; readonly keyBase64?: string | undefined }): {
  key: string;
  keyBytes?: Uint8Array;
} {
  if (wire.keyBase64 === undefined) return { key: wire.key ?? '' };
  const keyBytes = bytesOf(wire.keyBase64);
  return { key: new TextDecoder().decode(keyBytes), keyBytes };
}

export function entryOf<T>(wire: EntryResource, codec: Codec<T>): Entry<T> {
  const key = keyOfWire(wire);
  return {
    ...key,
    value: codec.decode(rawValueOf(wire), key.key),
    createRevision: wire.createRevision,
    modRevision: wire.modRevision,
    version: wire.version,
    ...(wire.lease !== undefined && { leaseId: wire.lease }),
  };
}

function rawValueOf(wire: EntryResource): RawValue {
  return wire.valueBase64 === undefined ? (wire.value ?? '') : bytesOf(wire.valueBase64);
}

function bytesOf(base64: string): Uint8Array {
  const bytes = fromBase64(base64);
  if (!bytes) throw new MusterError('BAD_RESPONSE', 'expected base64');
  return bytes;
}
