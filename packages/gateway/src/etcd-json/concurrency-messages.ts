/** The requests and answers of etcd's lock and election services. */
import { EMPTY_BYTES } from '@muster/base';
import type { ConcurrencyApi, KeyValue, LeaderKey, WithHeader } from '@muster/kv';
import { type Decoded, decodeMessage, field, type MessageSpec, messageField } from './decode.ts';
import { bytes, number, object, openWithHeader } from './json-members.ts';
import type { JsonValue } from './json-value.ts';
import { keyValueJson } from './responses.ts';

type Value = JsonValue | undefined;
type Request<T extends keyof ConcurrencyApi> = Parameters<ConcurrencyApi[T]>[0];

const LOCK: MessageSpec = { fields: [field('name', 'bytes'), field('lease', 'int64')] };
const UNLOCK: MessageSpec = { fields: [field('key', 'bytes')] };
const CAMPAIGN: MessageSpec = { fields: [...LOCK.fields, field('value', 'bytes')] };
const LEADER_KEY: MessageSpec = {
  fields: [field('name', 'bytes'), field('key', 'bytes'), field('rev', 'count'), field('lease', 'int64')],
};
const PROCLAIM: MessageSpec = {
  fields: [messageField('leader', () => LEADER_KEY), field('value', 'bytes')],
};
const LEADER: MessageSpec = { fields: [field('name', 'bytes')] };
const RESIGN: MessageSpec = { fields: [messageField('leader', () => LEADER_KEY)] };

export function lockRequest(value: Value): Request<'lock'> {
  return { name: EMPTY_BYTES, lease: 0n, ...decodeMessage(LOCK, value) };
}

export function unlockRequest(value: Value): Request<'unlock'> {
  return { key: EMPTY_BYTES, ...decodeMessage(UNLOCK, value) };
}

export function campaignRequest(value: Value): Request<'campaign'> {
  return { name: EMPTY_BYTES, lease: 0n, value: EMPTY_BYTES, ...decodeMessage(CAMPAIGN, value) };
}

export function proclaimRequest(message: Value): Request<'proclaim'> {
  const { leader, value } = decodeMessage(PROCLAIM, message);
  return { leader: leaderKey(leader), value: (value as Uint8Array | undefined) ?? EMPTY_BYTES };
}

/** Leader and observe. */
export function electionRequest(value: Value): Request<'leader'> {
  return { name: EMPTY_BYTES, ...decodeMessage(LEADER, value) };
}

export function resignRequest(value: Value): Request<'resign'> {
  return { leader: leaderKey(decodeMessage(RESIGN, value).leader) };
}

function leaderKey(decoded: unknown): LeaderKey | undefined {
  if (decoded === undefined) return undefined;
  return { name: EMPTY_BYTES, key: EMPTY_BYTES, rev: 0, lease: 0n, ...(decoded as Decoded) };
}

export function lockJson(result: WithHeader<{ readonly key: Uint8Array }>): string {
  return `${openWithHeader(result.header)}${bytes('key', result.key)}}`;
}

export function campaignJson(result: WithHeader<{ readonly leader: LeaderKey }>): string {
  const { name, key, rev, lease } = result.leader;
  const leader = bytes('name', name) + bytes('key', key) + number('rev', rev) + number('lease', lease);
  return `${openWithHeader(result.header)},"leader":${object(leader)}}`;
}

export function leaderJson(result: WithHeader<{ readonly kv: KeyValue }>): string {
  return `${openWithHeader(result.header)},"kv":${keyValueJson(result.kv)}}`;
}
