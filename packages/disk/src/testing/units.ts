import type { Table } from '@muster/kv';

/** What unit `tag` writes: a key of its own, a shared one that tells the tag, and a long one. */
export function unitOf(tag: number): [table: Table, key: Uint8Array, value: Uint8Array][] {
  const value = Buffer.from(`value ${tag}`);
  const long = new Uint8Array(2500).fill(tag % 50);
  return [
    ['revisions', Buffer.from(String(tag).padStart(12, '0')), value],
    ['keys', Buffer.from('newest'), Buffer.from(String(tag))],
    ['keys', long, value],
  ];
}
