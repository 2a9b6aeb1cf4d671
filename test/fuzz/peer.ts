/** The peer port, from outside and as a member of the cluster, and its decoders by themselves. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Prng } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import type { Message } from '@muster/raft';
import { ByteReader, ByteWriter, MalformedFrame } from '../../packages/wire/src/peer/bytes.ts';
import { decodePeerMessage, encodePeerMessage } from '../../packages/wire/src/peer/codec.ts';
import {
  batchMessages,
  FRAME,
  type Frame,
  FrameReader,
  frameOf,
} from '../../packages/wire/src/peer/frames.ts';
import { decodeHello, encodeHello, PROTOCOL_VERSION } from '../../packages/wire/src/peer/handshake.ts';
import { joined, mutateBytes, randomBytes } from './mutate.ts';
import { answered, type Open, Violation } from './target.ts';

const LINGER_MS = 10;
const DECODES = 200;
const FRAME_MAX = 1 << 20;

export const openPeer: Open = (member) => {
  const { hostname, port } = new URL(member.peerUrl);
  return {
    name: 'peer',
    async run(prng) {
      for (let n = 0; n < DECODES; n++) decodeOne(prng);
      if (prng.chance(0.2)) await dial(prng, hostname, Number(port));
    },
    close: () => {},
  };
};

/** A stranger at the port: a hello that is right, almost right, or none; then frames of all kinds. */
async function dial(prng: Prng, host: string, port: number): Promise<void> {
  const socket = connect(port, host);
  socket.on('error', () => {});
  socket.resume();
  await answered(once(socket, 'connect'), 'a connection to the peer port');
  const hello = helloBytes(prng);
  socket.write(prng.chance(0.5) ? hello : mutateBytes(prng, hello));
  for (let n = prng.int(0, 5); n > 0; n--) socket.write(frameBytes(prng));
  if (prng.chance(0.3)) socket.write(randomBytes(prng, 3000));
  await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
  socket.destroy();
}

function helloBytes(prng: Prng): Uint8Array {
  return encodeHello({
    versionMin: prng.chance(0.9) ? 1 : prng.int(0, 100),
    versionMax: prng.chance(0.9) ? PROTOCOL_VERSION : prng.int(0, 100),
    kind: prng.pick(['messages', 'snapshot']),
    clusterId: prng.uint64(),
    from: prng.uint64(),
    to: prng.uint64(),
    serverVersion: prng.pick(['3.6.5', '', 'x'.repeat(200)]),
    urls: prng.pick([[], ['http://127.0.0.1:1'], ['nonsense', 'https://h:0']]),
  });
}

function frameBytes(prng: Prng): Uint8Array {
  const type = prng.pick(Object.values(FRAME));
  return frameOf(type, (writer) => writer.raw(payload(prng)));
}

function payload(prng: Prng): Uint8Array {
  if (prng.chance(0.3)) return randomBytes(prng, 500);
  const message = encoded(prng);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  const batch = joined(length, message);
  return prng.chance(0.5) ? batch : mutateBytes(prng, batch);
}

/** Whatever the bytes: a message, or `MalformedFrame`, and soon. */
function decodeOne(prng: Prng): void {
  const bytes = mutateBytes(prng, prng.chance(0.5) ? encoded(prng) : frameBytes(prng));
  const started = performance.now();
  for (const decode of DECODERS) {
    try {
      decode(bytes);
    } catch (error) {
      if (!(error instanceof MalformedFrame)) {
        const hex = Buffer.from(bytes).toString('hex');
        throw new Violation(`${decode.name} of ${hex}: ${String(error)}`, { cause: error });
      }
    }
  }
  const took = performance.now() - started;
  if (took > 2000) throw new Violation(`decoding took ${took} ms: ${Buffer.from(bytes).toString('hex')}`);
}

const DECODERS = [
  function peerMessage(bytes: Uint8Array) {
    decodePeerMessage(bytes);
  },
  function frames(bytes: Uint8Array) {
    new FrameReader(FRAME_MAX).push(bytes, (frame) => {
      for (const decode of FRAME_DECODERS) {
        try {
          decode(frame);
        } catch (error) {
          if (!(error instanceof MalformedFrame)) throw error;
        }
      }
      return true;
    });
  },
  function fields(bytes: Uint8Array) {
    const reader = new ByteReader(bytes);
    while (reader.remaining > 0) reader.varint();
  },
];
const FRAME_DECODERS: readonly ((frame: Frame) => void)[] = [
  (frame) => void decodeHello(frame),
  (frame) => {
    for (const message of batchMessages(frame)) decodePeerMessage(message);
  },
];

function encoded(prng: Prng): Uint8Array {
  const writer = new ByteWriter();
  encodePeerMessage(writer, message(prng));
  return writer.finish();
}

function message(prng: Prng): PeerMessage {
  if (prng.chance(0.3)) {
    return {
      type: prng.pick(['request', 'response']),
      id: prng.int(0, 2 ** 40),
      body: randomBytes(prng, 60),
    };
  }
  return { type: 'raft', message: raftMessage(prng) };
}

function raftMessage(prng: Prng): Message {
  const base = { from: prng.uint64(), to: prng.uint64(), term: prng.int(0, 100) };
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
