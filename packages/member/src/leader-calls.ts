import { utf8, utf8Text } from '@muster/base';
import { ERRORS, type ErrorCode, KvError } from '@muster/contract';
import type { HashKvResult } from '@muster/kv';

/**
 * Requests from member to member outside the log. Only the leader can answer those about leases: renewals and
 * remaining times (etcd forwards these over its peer port too), and how far a learner has come. `isKnown` is for any
 * member: see `Admission`.
 */
export type LeaderCall =
  | { readonly type: 'keepAlive'; readonly id: bigint }
  | { readonly type: 'timeToLive'; readonly id: bigint; readonly keys: boolean }
  | { readonly type: 'isKnown'; readonly id: bigint }
  | { readonly type: 'learnerReady'; readonly id: bigint }
  /** Of any member: `id` is the revision. */
  | { readonly type: 'hashKv'; readonly id: bigint };

export type LeaderAnswer =
  | { readonly type: 'keepAlive'; readonly ttlSeconds: number }
  | {
      readonly type: 'timeToLive';
      readonly ttlSeconds: number;
      readonly grantedTtlSeconds: number;
      readonly keys: readonly Uint8Array[];
    }
  | { readonly type: 'error'; readonly code: ErrorCode }
  /**
   * Whether the member has published itself: it has had entries in its log then. `voters` are those as of `index`, none
   * where the asker is no member yet.
   */
  | {
      readonly type: 'isKnown';
      readonly known: boolean;
      readonly index: number;
      readonly voters: readonly bigint[];
    }
  | { readonly type: 'learnerReady'; readonly ready: boolean }
  | { readonly type: 'hashKv'; readonly result: HashKvResult };

const CALLS = ['keepAlive', 'timeToLive', 'isKnown', 'learnerReady', 'hashKv'] as const;
const ANSWERS = ['keepAlive', 'timeToLive', 'error', 'isKnown', 'learnerReady', 'hashKv'] as const;

/** Layout: kind u8, id i64, flags u8. Big-endian. */
export function encodeCall(call: LeaderCall): Uint8Array {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, CALLS.indexOf(call.type));
  view.setBigInt64(1, BigInt.asIntN(64, call.id));
  if (call.type === 'timeToLive') view.setUint8(9, call.keys ? 1 : 0);
  return bytes;
}

/** `undefined` when the bytes are none of ours: the caller answers with an error. */
export function decodeCall(bytes: Uint8Array): LeaderCall | undefined {
  if (bytes.length !== 10) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = CALLS[view.getUint8(0)];
  switch (type) {
    case 'keepAlive':
      return { type, id: view.getBigInt64(1) };
    case 'timeToLive':
      return { type, id: view.getBigInt64(1), keys: view.getUint8(9) === 1 };
    case 'isKnown':
    case 'learnerReady':
    case 'hashKv':
      return { type, id: view.getBigUint64(1) };
    default:
      return undefined;
  }
}

export function encodeAnswer(answer: LeaderAnswer): Uint8Array {
  const kind = ANSWERS.indexOf(answer.type);
  switch (answer.type) {
    case 'keepAlive': {
      const out = answerBytes(kind, 8);
      out.view.setBigInt64(1, BigInt(answer.ttlSeconds));
      return out.bytes;
    }
    case 'timeToLive': {
      const out = answerBytes(kind, 16 + answer.keys.reduce((n, key) => n + 4 + key.length, 0));
      out.view.setBigInt64(1, BigInt(answer.ttlSeconds));
      out.view.setBigInt64(9, BigInt(answer.grantedTtlSeconds));
      let at = 17;
      for (const key of answer.keys) {
        out.view.setUint32(at, key.length);
        out.bytes.set(key, at + 4);
        at += 4 + key.length;
      }
      return out.bytes;
    }
    case 'error': {
      const code = utf8(answer.code);
      const out = answerBytes(kind, code.length);
      out.bytes.set(code, 1);
      return out.bytes;
    }
    case 'isKnown': {
      const out = answerBytes(kind, 9 + 8 * answer.voters.length);
      out.view.setUint8(1, answer.known ? 1 : 0);
      out.view.setBigInt64(2, BigInt(answer.index));
      for (const [i, id] of answer.voters.entries()) out.view.setBigUint64(10 + 8 * i, id);
      return out.bytes;
    }
    case 'learnerReady': {
      const out = answerBytes(kind, 1);
      out.view.setUint8(1, answer.ready ? 1 : 0);
      return out.bytes;
    }
    case 'hashKv': {
      const { hash, compactRevision, hashRevision } = answer.result;
      const out = answerBytes(kind, 20);
      out.view.setUint32(1, hash);
      out.view.setBigInt64(5, BigInt(compactRevision));
      out.view.setBigInt64(13, BigInt(hashRevision));
      return out.bytes;
    }
  }
}

/** @throws KvError `INTERNAL` when the bytes make no sense */
export function decodeAnswer(bytes: Uint8Array): LeaderAnswer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const type = ANSWERS[view.getUint8(0)];
    switch (type) {
      case 'keepAlive':
        return { type, ttlSeconds: Number(view.getBigInt64(1)) };
      case 'timeToLive':
        return {
          type,
          ttlSeconds: Number(view.getBigInt64(1)),
          grantedTtlSeconds: Number(view.getBigInt64(9)),
          keys: decodeKeys(bytes, view),
        };
      case 'isKnown':
        return {
          type,
          known: view.getUint8(1) === 1,
          index: Number(view.getBigInt64(2)),
          voters: decodeIds(view, 10),
        };
      case 'learnerReady':
        return { type, ready: view.getUint8(1) === 1 };
      case 'hashKv': {
        const [compactRevision, hashRevision] = [view.getBigInt64(5), view.getBigInt64(13)].map(Number);
        const revisions = {
          compactRevision: compactRevision as number,
          hashRevision: hashRevision as number,
        };
        return { type, result: { hash: view.getUint32(1), ...revisions } };
      }
      case 'error': {
        const code = utf8Text(bytes.subarray(1));
        return { type, code: code in ERRORS ? (code as ErrorCode) : 'INTERNAL' };
      }
    }
  } catch (cause) {
    throw new KvError('INTERNAL', { detail: 'the leader sent an answer that is cut short', cause });
  }
  throw new KvError('INTERNAL', { detail: `the leader sent an unknown kind of answer: ${bytes[0]}` });
}

function answerBytes(kind: number, length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(1 + length);
  bytes[0] = kind;
  return { bytes, view: new DataView(bytes.buffer) };
}

function decodeIds(view: DataView, from: number): bigint[] {
  const ids: bigint[] = [];
  for (let at = from; at < view.byteLength; at += 8) ids.push(view.getBigUint64(at));
  return ids;
}

function decodeKeys(bytes: Uint8Array, view: DataView): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let at = 17; at < bytes.length; ) {
    const length = view.getUint32(at);
    if (at + 4 + length > bytes.length) throw new RangeError('key runs past the end');
    keys.push(bytes.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return keys;
}
