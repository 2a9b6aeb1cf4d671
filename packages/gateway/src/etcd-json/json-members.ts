/** The pieces that etcd's answers are made of: zero values are left out, and every member begins with a comma. */
import type { ResponseHeader } from '@muster/kv';
import { encodeBase64 } from './base64.ts';
import { goString } from './status-error.ts';

/** `{"header":{...}` without the closing brace, so that members may follow. */
export function openWithHeader(header: ResponseHeader): string {
  return `{"header":${headerJson(header)}`;
}

let lastIds: { readonly clusterId: bigint; readonly memberId: bigint; readonly text: string } | undefined;

/** Ids change hardly ever, while printing a bigint costs as much as the rest of a small answer. */
function idsJson(header: ResponseHeader): string {
  if (lastIds?.clusterId === header.clusterId && lastIds.memberId === header.memberId) return lastIds.text;
  let text = '';
  if (header.clusterId !== 0n) text += `,"cluster_id":"${header.clusterId}"`;
  if (header.memberId !== 0n) text += `,"member_id":"${header.memberId}"`;
  lastIds = { clusterId: header.clusterId, memberId: header.memberId, text };
  return text;
}

export function headerJson(header: ResponseHeader): string {
  let text = idsJson(header);
  if (header.revision) text += `,"revision":"${header.revision}"`;
  if (header.raftTerm) text += `,"raft_term":"${header.raftTerm}"`;
  return `{${text.slice(1)}}`;
}

/** 64-bit integers are strings. */
export const number = (name: string, value: number | bigint): string =>
  value ? `,"${name}":"${value}"` : '';
export const flag = (name: string, value: boolean): string => (value ? `,"${name}":true` : '');
export const text = (name: string, value: string): string =>
  value === '' ? '' : `,"${name}":${goString(value)}`;
export const bytes = (name: string, value: Uint8Array | undefined): string =>
  value === undefined || value.length === 0 ? '' : `,"${name}":"${encodeBase64(value)}"`;
/** `items` are JSON already. */
export const list = (name: string, items: readonly string[]): string =>
  items.length === 0 ? '' : `,"${name}":[${items.join(',')}]`;
/** An object out of members. */
export const object = (members: string): string => `{${members.slice(1)}}`;
