export type * from './api.ts';
export { type Bounds, type Engine, type EngineReader, type Entry, TABLES, type Table } from './engine.ts';
export type * from './types.ts';
