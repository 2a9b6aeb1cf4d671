/** Cursors: `<epoch>.<revision>`, and for a page `<epoch>.<revision>.<where it goes on>`. Opaque to clients. */
import { fromBase64, KvError, toBase64Url } from '@muster/contract';
import type { V1Context } from './context.ts';

export type Cursor = { readonly epoch: string; readonly revision: number; readonly position?: Uint8Array };

export function formatCursor(epoch: string, revision: number, position?: Uint8Array): string {
  const at = `${epoch}.${revision}`;
  return position === undefined ? at : `${at}.${toBase64Url(position)}`;
}

const CURSOR = /^([A-Za-z0-9_-]{1,64})\.(0|[1-9][0-9]{0,15})(?:\.([A-Za-z0-9_-]*))?$/;

/** BAD_REQUEST when it is not one. */
export function parseCursor(text: string): Cursor {
  const match = CURSOR.exec(text);
  const revision = Number(match?.[2]);
  const position = match?.[3] === undefined ? undefined : fromBase64(match[3]);
  if (!match || !Number.isSafeInteger(revision) || (match[3] !== undefined && position === undefined)) {
    throw new KvError('BAD_REQUEST', {
      detail: `${JSON.stringify(text.slice(0, 100))} is not a cursor; one that an answer gave out is expected`,
    });
  }
  const cursor = { epoch: match[1] as string, revision };
  return position === undefined ? cursor : { ...cursor, position };
}

/** FOREIGN_EPOCH when the cursor is not of this store. */
export async function requireEpoch(context: V1Context, cursor: Cursor): Promise<void> {
  const epoch = await context.epoch();
  if (cursor.epoch === epoch) return;
  throw new KvError('FOREIGN_EPOCH', {
    detail: `the cursor is of epoch ${cursor.epoch}, this store is ${epoch}: read again from the beginning`,
  });
}
