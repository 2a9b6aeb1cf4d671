/** Right messages between members. */
import type { Prng } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import type { Message } from '@muster/raft';
import { randomBytes } from './mutate.ts';

/** What a member sends: its messages of raft are from `from` to `to`. */
export function peerMessage(prng: Prng, from: bigint, to: bigint): PeerMessage {
  if (prng.chance(0.3)) {
    return {
      type: prng.pick(['request', 'response']),
      id: prng.int(0, 2 ** 40),
      body: randomBytes(prng, 60),
    };
  }
  return { type: 'raft', message: raftMessage(prng, from, to) };
}

function raftMessage(prng: Prng, from: bigint, to: bigint): Message {
  const base = { from, to, term: prng.int(0, 100) };
  const commits = { commit: prng.int(0, 100), commitTerm: prng.int(0, 9) };
  const index = prng.int(0, 1000);
  switch (prng.int(0, 6)) {
    case 0: {
      const entries = Array.from({ length: prng.int(0, 4) }, (_, i) => ({
        index: index + 1 + i,
        term: prng.int(0, 100),
        type: prng.pick(['normal', 'config'] as const),
        data: randomBytes(prng, 100),
      }));
      return { type: 'append', ...base, prevIndex: index, prevTerm: 3, commit: index, entries };
    }
    case 1:
      return { type: 'appendResponse', ...base, index, reject: true, hintIndex: 1, hintTerm: 1 };
    case 2:
      return { type: 'vote', ...base, lastIndex: index, lastTerm: 2, transfer: false, ...commits };
    case 3:
      return { type: 'preVoteResponse', ...base, reject: false, ...commits };
    case 4:
      return { type: 'heartbeat', ...base, commit: index, context: index };
    default: {
      const ids = () => Array.from({ length: prng.int(0, 4) }, () => prng.uint64());
      const confState = {
        voters: ids(),
        votersOutgoing: ids(),
        learners: ids(),
        learnersNext: ids(),
        autoLeave: prng.chance(0.5),
      };
      return { type: 'snapshot', ...base, snapshot: { index, term: 3, confState } };
    }
  }
}
