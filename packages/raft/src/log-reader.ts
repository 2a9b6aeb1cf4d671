import type { Entry } from './messages.ts';

/**
 * The durable part of the log, read synchronously. It covers (compactedIndex, lastIndex]; the term at compactedIndex
 * is known too. The member keeps it in memory and appends to it when a Ready's entries are durable.
 */
export interface LogReader {
  /** Index of the newest entry that is gone (or 0). */
  readonly compactedIndex: number;
  /** Index of the newest durable entry; equals compactedIndex when there is none. */
  readonly lastIndex: number;
  /** `undefined` when the index is outside [compactedIndex, lastIndex]. */
  term(index: number): number | undefined;
  /** Entries in [low, high), at least one, cut so that the sum of their `entryBytes` stays within `maxBytes`. */
  entries(low: number, high: number, maxBytes: number): readonly Entry[];
}
