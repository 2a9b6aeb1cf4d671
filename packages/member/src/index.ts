export {
  type PeerEvent,
  type PeerMessage,
  type PeerTransport,
  type SnapshotStore,
  type Wal,
  type WalBatch,
  type WalContents,
  WalError,
} from './ports.ts';
