/** The peer port, from outside and as a member of the cluster, and its decoders by themselves. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Prng } from '@muster/base';
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
import { KnownPeer } from './known-peer.ts';
import { joined, mutateBytes, randomBytes } from './mutate.ts';
import { peerMessage } from './peer-messages.ts';
import { answered, type Open, Tally, Violation } from './target.ts';

const LINGER_MS = 10;
const DECODES = 200;
const FRAME_MAX = 1 << 20;

export const openPeer: Open = async (member) => {
  const { hostname, port } = new URL(member.peerUrl);
  const self = await identityOf(member.clientUrl);
  const known = await KnownPeer.open();
  const tally = new Tally();
  return {
    name: 'peer',
    tally,
    async run(prng) {
      for (let n = 0; n < DECODES; n++) decodeOne(prng);
      const kind = prng.float();
      if (kind < 0.2) await dial(prng, hostname, Number(port), self);
      else if (kind < 0.5) tally.add(await known.run(prng));
    },
    close: () => known.close(),
  };
};

type Identity = { readonly clusterId: bigint; readonly id: bigint };

async function identityOf(clientUrl: string): Promise<Identity> {
  const response = await fetch(`${clientUrl}/v3/maintenance/status`, { method: 'POST', body: '{}' });
  const { header } = (await response.json()) as { header: { cluster_id: string; member_id: string } };
  return { clusterId: BigInt(header.cluster_id), id: BigInt(header.member_id) };
}

/** A stranger at the port: a hello that is right, almost right, or none; then frames of all kinds. */
async function dial(prng: Prng, host: string, port: number, self: Identity): Promise<void> {
  const socket = connect(port, host);
  socket.on('error', () => {});
  socket.resume();
  await answered(once(socket, 'connect'), 'a connection to the peer port');
  const hello = helloBytes(prng, self);
  socket.write(prng.chance(0.5) ? hello : mutateBytes(prng, hello));
  for (let n = prng.int(0, 5); n > 0; n--) socket.write(frameBytes(prng));
  if (prng.chance(0.3)) socket.write(randomBytes(prng, 3000));
  await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
  socket.destroy();
}

function helloBytes(prng: Prng, self: Identity): Uint8Array {
  return encodeHello({
    versionMin: prng.chance(0.9) ? 1 : prng.int(0, 100),
    versionMax: prng.chance(0.9) ? PROTOCOL_VERSION : prng.int(0, 100),
    kind: prng.pick(['messages', 'snapshot']),
    clusterId: prng.chance(0.7) ? self.clusterId : prng.uint64(),
    from: prng.chance(0.9) ? prng.uint64() : self.id,
    to: prng.chance(0.8) ? self.id : prng.uint64(),
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
  encodePeerMessage(writer, peerMessage(prng, prng.uint64(), prng.uint64()));
  return writer.finish();
}
