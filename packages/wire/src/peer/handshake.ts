/** Who is calling whom, in which cluster and with which versions of the protocol: the first frames of a connection. */
import { hex } from '@muster/base';
import type { NodeId } from '@muster/raft';
import { ByteReader, MalformedFrame } from './bytes.ts';
import { FRAME, type Frame, frameOf } from './frames.ts';
import { PEER_LIMITS } from './limits.ts';

/** The newest version of the peer protocol spoken here, and the oldest still understood. */
export const PROTOCOL_VERSION = 1;
export const PROTOCOL_VERSION_MIN = 1;

export const MAGIC = 0x5253_554d; // "MUSR"

/** Of the caller's own URLs; a handshake frame is small. */
const HELLO_URLS_MAX = 2;

export type ConnectionKind = 'messages' | 'snapshot';

export type Hello = {
  readonly versionMin: number;
  readonly versionMax: number;
  readonly kind: ConnectionKind;
  readonly clusterId: bigint;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly serverVersion: string;
  /** Where the caller can be dialled, for who does not know it yet. */
  readonly urls: readonly string[];
};

export type Welcome = { readonly version: number; readonly id: NodeId; readonly serverVersion: string };

const REFUSALS = [
  'protocol-version',
  'cluster-mismatch',
  'wrong-receiver',
  'unknown-sender',
  'busy',
  'malformed',
  'removed-sender',
] as const;
type RefusalCode = (typeof REFUSALS)[number];
export type Refusal = { readonly code: RefusalCode; readonly reason: string };

/** Why a side that goes on living closes a connection. Without one, its process is taken for dead. */
const GOODBYES = ['stopping', 'replaced', 'reconnect', 'silent', 'malformed', 'removed'] as const;
export type Goodbye = (typeof GOODBYES)[number];

export function encodeHello(hello: Hello): Uint8Array {
  return frameOf(FRAME.hello, (writer) => {
    writer.u32(MAGIC);
    writer.varint(hello.versionMin);
    writer.varint(hello.versionMax);
    writer.u8(hello.kind === 'messages' ? 0 : 1);
    writer.u64(hello.clusterId);
    writer.u64(hello.from);
    writer.u64(hello.to);
    writer.text(hello.serverVersion);
    const urls = hello.urls.slice(0, HELLO_URLS_MAX);
    writer.varint(urls.length);
    for (const url of urls) writer.text(url);
  });
}

/** Later versions may add fields to the end of a hello; they are ignored. */
export function decodeHello(frame: Frame): Hello {
  const reader = new ByteReader(frame.payload);
  if (frame.type !== FRAME.hello || reader.u32() !== MAGIC) {
    throw new MalformedFrame('not a Muster peer: the handshake does not begin with its magic number');
  }
  const versionMin = reader.varint();
  const versionMax = reader.varint();
  const kind = reader.bool() ? 'snapshot' : 'messages';
  return {
    versionMin,
    versionMax,
    kind,
    clusterId: reader.u64(),
    from: reader.u64(),
    to: reader.u64(),
    serverVersion: reader.text(PEER_LIMITS.textBytes),
    urls: decodeUrls(reader),
  };
}

function decodeUrls(reader: ByteReader): string[] {
  const count = reader.varint();
  if (count > HELLO_URLS_MAX) throw new MalformedFrame(`a hello with ${count} URLs`);
  return Array.from({ length: count }, () => reader.text(PEER_LIMITS.textBytes));
}

export function encodeWelcome(welcome: Welcome): Uint8Array {
  return frameOf(FRAME.welcome, (writer) => {
    writer.varint(welcome.version);
    writer.u64(welcome.id);
    writer.text(welcome.serverVersion);
  });
}

export function encodeRefusal(refusal: Refusal): Uint8Array {
  return frameOf(FRAME.refuse, (writer) => {
    writer.u8(REFUSALS.indexOf(refusal.code));
    writer.text(refusal.reason.slice(0, PEER_LIMITS.textBytes / 4));
  });
}

type HandshakeAnswer =
  | { readonly type: 'welcome'; readonly welcome: Welcome }
  | { readonly type: 'refused'; readonly refusal: Refusal };

export function decodeAnswer(frame: Frame): HandshakeAnswer {
  const reader = new ByteReader(frame.payload);
  if (frame.type === FRAME.welcome) {
    const version = reader.varint();
    const id = reader.u64();
    return { type: 'welcome', welcome: { version, id, serverVersion: reader.text(PEER_LIMITS.textBytes) } };
  }
  if (frame.type !== FRAME.refuse) throw new MalformedFrame(`expected a welcome, got frame ${frame.type}`);
  const code = REFUSALS[reader.u8()] ?? 'malformed';
  return { type: 'refused', refusal: { code, reason: reader.text(PEER_LIMITS.textBytes) } };
}

export function encodeGoodbye(why: Goodbye): Uint8Array {
  return frameOf(FRAME.goodbye, (writer) => writer.u8(GOODBYES.indexOf(why)));
}

export function decodeGoodbye(frame: Frame): Goodbye {
  const reader = new ByteReader(frame.payload);
  return GOODBYES[reader.u8()] ?? 'stopping';
}

export type Self = { readonly clusterId: bigint; readonly id: NodeId; readonly serverVersion: string };

/** Whether a caller may come in: `undefined` is yes. */
export function refusalOf(
  hello: Hello,
  self: Self,
  standing: (sender: NodeId) => 'member' | 'removed' | 'unknown',
): Refusal | undefined {
  if (hello.versionMin > PROTOCOL_VERSION || hello.versionMax < PROTOCOL_VERSION_MIN) {
    const theirs = `${hello.versionMin} to ${hello.versionMax}`;
    const ours = `${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION}`;
    const reason = `member ${idText(hello.from)} speaks peer protocol ${theirs}, this member speaks ${ours}`;
    return { code: 'protocol-version', reason };
  }
  if (hello.clusterId !== self.clusterId) {
    const reason = `cluster ID mismatch: the caller's is ${idText(hello.clusterId)}, this member's is ${idText(self.clusterId)}`;
    return { code: 'cluster-mismatch', reason };
  }
  if (hello.to !== self.id) {
    const reason = `the caller wants member ${idText(hello.to)}, this is member ${idText(self.id)}`;
    return { code: 'wrong-receiver', reason };
  }
  const sender = standing(hello.from);
  if (sender === 'removed') {
    const reason = `member ${idText(hello.from)} has been permanently removed from the cluster`;
    return { code: 'removed-sender', reason };
  }
  if (sender === 'unknown') {
    const reason = `member ${idText(hello.from)} is not in this member's cluster configuration`;
    return { code: 'unknown-sender', reason };
  }
  return undefined;
}

export function versionSpokenWith(hello: Hello): number {
  return Math.min(hello.versionMax, PROTOCOL_VERSION);
}

/** As etcdctl prints ids. */
export function idText(id: bigint): string {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, id);
  return hex(bytes).replace(/^0+(?=.)/, '');
}
