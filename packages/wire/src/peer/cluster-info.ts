/**
 * What one that is to join asks before it has an id: who the members are. A connection of its own carries one question
 * and one answer; with TLS it takes the same certificates as any other.
 */
import type { MemberInfo } from '@muster/kv';
import { ByteReader, MalformedFrame } from './bytes.ts';
import type { PeerEnv } from './env.ts';
import { FramedSocket } from './framed-socket.ts';
import { FRAME, type Frame, frameOf } from './frames.ts';
import { MAGIC, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from './handshake.ts';
import { PEER_LIMITS } from './limits.ts';
import { openSocket } from './open-socket.ts';
import { peerAddressOf } from './peer-url.ts';

/** A cluster as one of its members knows it. */
export type ClusterInfo = {
  readonly clusterId: bigint;
  /** The peer protocols that the member speaks. */
  readonly versionMin: number;
  readonly versionMax: number;
  readonly serverVersion: string;
  readonly members: readonly MemberInfo[];
  /** Ids that were members once. */
  readonly removed: readonly bigint[];
};

const LEARNER = 1;

function encodeQuery(): Uint8Array {
  return frameOf(FRAME.query, (writer) => writer.u32(MAGIC));
}

/** Throws `MalformedFrame` when it is none. */
export function checkQuery(frame: Frame): void {
  if (new ByteReader(frame.payload).u32() !== MAGIC) throw new MalformedFrame('a query without magic number');
}

export function encodeClusterInfo(
  info: Pick<ClusterInfo, 'clusterId' | 'serverVersion' | 'members' | 'removed'>,
): Uint8Array {
  return frameOf(FRAME.clusterInfo, (writer) => {
    writer.varint(PROTOCOL_VERSION_MIN);
    writer.varint(PROTOCOL_VERSION);
    writer.u64(info.clusterId);
    writer.text(info.serverVersion);
    writer.varint(info.members.length);
    for (const member of info.members) {
      writer.u64(member.id);
      writer.u8(member.isLearner ? LEARNER : 0);
      writer.text(member.name);
      for (const urls of [member.peerUrls, member.clientUrls]) {
        writer.varint(urls.length);
        for (const url of urls) writer.text(url);
      }
    }
    writer.varint(info.removed.length);
    for (const id of info.removed) writer.u64(id);
  });
}

/** Throws `MalformedFrame`. Later versions may add fields to the end; they are ignored. */
function decodeClusterInfo(frame: Frame): ClusterInfo {
  if (frame.type !== FRAME.clusterInfo)
    throw new MalformedFrame(`expected cluster info, got frame ${frame.type}`);
  const reader = new ByteReader(frame.payload);
  const list = <T>(one: () => T): T[] => {
    const count = reader.varint();
    if (count > PEER_LIMITS.confStateIds) throw new MalformedFrame(`a list of ${count}`);
    return Array.from({ length: count }, one);
  };
  const text = () => reader.text(PEER_LIMITS.textBytes);
  return {
    versionMin: reader.varint(),
    versionMax: reader.varint(),
    clusterId: reader.u64(),
    serverVersion: text(),
    members: list(() => {
      const id = reader.u64();
      const isLearner = (reader.u8() & LEARNER) !== 0;
      const name = text();
      const peerUrls = list(text);
      return { id, name, peerUrls, clientUrls: list(text), isLearner };
    }),
    removed: list(() => reader.u64()),
  };
}

/** Whether there is a peer protocol that both sides speak. */
export function speaksWith(info: Pick<ClusterInfo, 'versionMin' | 'versionMax'>): boolean {
  return info.versionMin <= PROTOCOL_VERSION && info.versionMax >= PROTOCOL_VERSION_MIN;
}

/** Asks whoever listens at a peer URL. Rejects with a sentence when there is no answer within a few seconds. */
export function fetchClusterInfo(url: string, env: Pick<PeerEnv, 'clock' | 'tls'>): Promise<ClusterInfo> {
  return new Promise((resolve, reject) => {
    const { clock } = env;
    const settle = (run: () => void): void => {
      clock.cancel(timer);
      link.destroy();
      run();
    };
    const link = new FramedSocket(openSocket(peerAddressOf(url), env), clock, PEER_LIMITS, {
      onFrame: (frame) => {
        const info = decodeClusterInfo(frame);
        settle(() => resolve(info));
      },
      onEnd: (end) =>
        settle(() =>
          reject(new Error(`${url}: ${end.kind === 'goodbye' ? `goodbye: ${end.why}` : end.detail}`)),
        ),
    });
    const timer = clock.schedule(PEER_LIMITS.queryMs, () =>
      settle(() => reject(new Error(`${url}: no answer within ${PEER_LIMITS.queryMs} ms`))),
    );
    link.trust();
    link.write(encodeQuery());
  });
}
