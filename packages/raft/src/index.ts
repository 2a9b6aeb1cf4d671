export type { LogReader } from './log-reader.ts';
export {
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type MessageType,
  NONE,
  type NodeId,
  type SnapshotMeta,
} from './messages.ts';
export type { ReadState, Ready, Role, SoftState } from './ready.ts';
