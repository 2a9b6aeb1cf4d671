import { MusterError } from './errors.ts';

/** A place in the store's history, `<epoch>.<revision>`. Opaque to users: keep it, hand it back, never compute with it. */
export type Cursor = string;

/** A cursor taken apart. Revisions of different epochs do not compare. */
export type Position = { readonly epoch: string; readonly rev: number };

export function cursorOf(position: Position): Cursor {
  return `${position.epoch}.${position.rev}`;
}

export function positionOf(cursor: Cursor): Position {
  const dot = cursor.lastIndexOf('.');
  const rev = Number(cursor.slice(dot + 1));
  if (dot < 1 || !Number.isSafeInteger(rev) || rev < 0) {
    throw new MusterError(
      'BAD_REQUEST',
      `expected a cursor as a watch gave it, got ${JSON.stringify(cursor)}`,
    );
  }
  return { epoch: cursor.slice(0, dot), rev };
}
