export type { PeerLog } from './peer/env.ts';
export { idText } from './peer/handshake.ts';
export { PEER_LIMITS, type PeerLimits } from './peer/limits.ts';
export type { PeerStats } from './peer/outbound.ts';
export { type PeerAddress, peerAddressOf } from './peer/peer-url.ts';
export type { SnapshotFiles, SnapshotSink, SnapshotSource } from './peer/snapshot-files.ts';
export { TcpPeerTransport, type TcpPeerTransportOptions } from './peer/transport.ts';
