import { utf8 } from '@muster/base';
import type { ConfState, NodeId, SnapshotMeta } from '@muster/raft';

/** Where in table `meta` the member keeps which index the engine's state stands at. */
export const RAFT_META_KEY = utf8('raft');

const VERSION = 1;
const LISTS = ['voters', 'votersOutgoing', 'learners', 'learnersNext'] as const;

/** Layout: version u8, auto-leave u8, index u64, term u64, then per list a count u16 and ids u64. Big-endian. */
export function encodeRaftMeta(meta: SnapshotMeta): Uint8Array {
  const ids = LISTS.reduce((n, list) => n + meta.confState[list].length, 0);
  const bytes = new Uint8Array(18 + LISTS.length * 2 + ids * 8);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, meta.confState.autoLeave ? 1 : 0);
  view.setBigUint64(2, BigInt(meta.index));
  view.setBigUint64(10, BigInt(meta.term));
  let at = 18;
  for (const list of LISTS) {
    view.setUint16(at, meta.confState[list].length);
    at += 2;
    for (const id of meta.confState[list]) {
      view.setBigUint64(at, id);
      at += 8;
    }
  }
  return bytes;
}

export function decodeRaftMeta(bytes: Uint8Array): SnapshotMeta {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0);
  if (version !== VERSION) throw new Error(`raft meta record has version ${version}, expected ${VERSION}`);
  const lists: Record<(typeof LISTS)[number], NodeId[]> = {
    voters: [],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
  };
  let at = 18;
  for (const list of LISTS) {
    const count = view.getUint16(at);
    at += 2;
    for (let i = 0; i < count; i++, at += 8) lists[list].push(view.getBigUint64(at));
  }
  const confState: ConfState = { ...lists, autoLeave: view.getUint8(1) === 1 };
  return { index: Number(view.getBigUint64(2)), term: Number(view.getBigUint64(10)), confState };
}
