export type * from './api.ts';
export { type Bounds, type Engine, type EngineReader, type Entry, TABLES, type Table } from './engine.ts';
export type * from './types.ts';
export { fragmentEvents } from './watch-filter.ts';
export {
  DEFAULT_WATCH_LIMITS,
  type HistoryQuery,
  type HistorySlice,
  type HistorySource,
  WatchHub,
  type WatchHubOptions,
  type WatchLimits,
  type WatchStats,
} from './watch-hub.ts';
