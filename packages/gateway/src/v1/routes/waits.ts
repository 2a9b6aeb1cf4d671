import { KvError, parseDurationMs } from '@muster/contract';
import { parsePrefer } from '../etags.ts';

type Waiting = {
  readonly query: { readonly wait?: string; readonly since?: string };
  header(name: string): string | undefined;
};

/** How long an answer may be held: `?wait=30s&since=` or `Prefer: wait=30` with If-None-Match. */
export function waitOf(request: Waiting): { readonly waitMs?: number } {
  const { wait, since } = request.query;
  if ((wait === undefined) !== (since === undefined)) {
    throw new KvError('BAD_REQUEST', {
      detail: 'query: wait and since go together; since is the X-Store-Cursor of an earlier answer',
    });
  }
  if (wait !== undefined) return { waitMs: parseDurationMs(wait) as number };
  const { waitSeconds } = parsePrefer(request.header('prefer'));
  return waitSeconds === undefined ? {} : { waitMs: waitSeconds * 1000 };
}
