export { type BackupOptions, Backups, openBackups } from './backup/backups.ts';
export {
  parseInitialCluster,
  type RestoredMember,
  type RestoreOptions,
  restoreSnapshot,
} from './backup/restore.ts';
export {
  SnapshotRefused,
  type SnapshotStatus,
  snapshotStatus,
  verifySnapshot,
} from './backup/status.ts';
export { BoltDamaged } from './bolt/format.ts';
export { type DataDir, type MemberIdentity, openDataDir } from './data-dir.ts';
export type { Done, DoneWith, Fs, FsFile, OpenMode } from './fs.ts';
export { type LmdbEngine, type OpenEngineOptions, openEngine } from './lmdb/engine.ts';
export { StoreError } from './lmdb/store.ts';
export { DataDirLocked } from './lock.ts';
export { clusterIdOf, memberIdOf } from './member-ids.ts';
export { nodeFs } from './node-fs.ts';
export {
  type DiskSnapshotStore,
  openSnapshotStore,
  type SnapshotReader,
  type SnapshotWriter,
} from './snapshot.ts';
export { SnapshotDamaged } from './snapshot-format.ts';
export { type OpenWalOptions, openWal } from './wal/open.ts';
export { WalDamaged } from './wal/reader.ts';
