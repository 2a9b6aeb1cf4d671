import { compareBytes } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CoreApi, TxnResult } from '@muster/kv';
import type { Step } from './random-ops.ts';

/** What a call came to, without what differs from one implementation to another by nature. */
type Outcome = { readonly value: unknown } | { readonly error: string };

/** A step as a call on any `CoreApi`; `current` is the revision that it counts back from. */
export function callOf(
  next: Exclude<Step, { type: 'watch' | 'restart' }>,
  current: number,
): (api: CoreApi) => Promise<object> {
  const at = (back: number) => current - back;
  switch (next.type) {
    case 'range': {
      const { op, back } = next;
      const request = back === undefined ? op : { ...op, revision: Math.max(0, at(back)) };
      return (api) => api.range(request);
    }
    case 'put':
      return (api) => api.put(next.op);
    case 'deleteRange':
      return (api) => api.deleteRange(next.op);
    case 'txn':
      return (api) => api.txn(next.op);
    case 'compact': {
      const request = { revision: at(next.back), physical: next.physical };
      return (api) => api.compact(request);
    }
    case 'grant':
      return (api) => api.leaseGrant({ id: next.id, ttlSeconds: 1_000_000 });
    case 'revoke':
      return (api) => api.leaseRevoke({ id: next.id });
    case 'keepAlive':
      return (api) => api.leaseKeepAlive({ id: next.id });
    case 'timeToLive':
      return async (api) => {
        const { keys, ttlSeconds, ...rest } = await api.leaseTimeToLive({ id: next.id, keys: true });
        return { ...rest, keys: [...keys].sort(compareBytes), alive: ttlSeconds > 0 };
      };
    case 'leases':
      return async (api) => {
        const { leases, header } = await api.leaseLeases();
        return { leases: [...leases].sort((a, b) => (a < b ? -1 : 1)), header };
      };
    case 'space': {
      const action = next.full ? 'activate' : 'deactivate';
      return async (api) => {
        const { header } = await api.status();
        const { alarms } = await api.alarm({ action, memberId: header.memberId, alarm: 'nospace' });
        return { kinds: alarms.map(({ alarm }) => alarm), header };
      };
    }
  }
}

/** An answer without what differs by nature, or the code of the error. */
export async function outcome(call: Promise<object>): Promise<Outcome> {
  try {
    const { header, ...rest } = (await call) as {
      header: { revision: number };
      responses?: TxnResult['responses'];
    };
    const responses = rest.responses && { responses: withoutInnerTxnRevisions(rest.responses) };
    return { value: { ...rest, ...responses, headerRevision: header.revision } };
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return { error: error.message };
  }
}

/** etcd's header inside a nested txn is empty, so its revision is nobody's business. */
function withoutInnerTxnRevisions(responses: TxnResult['responses']): unknown[] {
  return responses.map((response) => {
    if (response.type !== 'txn') return response;
    const { revision: _, ...txn } = response.txn;
    return { type: 'txn', txn: { ...txn, responses: withoutInnerTxnRevisions(txn.responses) } };
  });
}
