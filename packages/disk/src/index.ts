export type { Done, DoneWith, Fs, FsFile, OpenMode } from './fs.ts';
export { type LmdbEngine, type OpenEngineOptions, openEngine } from './lmdb/engine.ts';
export { StoreError } from './lmdb/store.ts';
export { nodeFs } from './node-fs.ts';
export { type OpenWalOptions, openWal } from './wal/open.ts';
export { WalDamaged } from './wal/reader.ts';
