import { utf8 } from '@muster/base';
import type { RequestOp } from '@muster/kv';
import { area } from '../suite.ts';

const { cases, add } = area('errors');

/** Which error comes when several apply: clients see one, and it should be the one that etcd gives. */
export const errorCases = cases;

const UNKNOWN_LEASE = 98_765n;
const txn = (...success: RequestOp[]) => ({ compare: [], success, failure: [] });

add('a put looks at its lease before the key; in a txn the key comes first', async (c) => {
  const put = { key: c.key('missing'), ignoreValue: true, lease: UNKNOWN_LEASE };
  await c.rejects('LEASE_NOT_FOUND', c.api.put(put));
  await c.rejects('KEY_NOT_FOUND', c.api.txn(txn({ type: 'put', put })));
});

add('a txn checks its puts in order, then its ranges', async (c) => {
  const leased = c.putOp('a', 'v', { lease: UNKNOWN_LEASE });
  const ignoring: RequestOp = { type: 'put', put: { key: c.key('missing'), ignoreValue: true } };
  const future = c.getOp('a', { revision: 1_000_000_000 });
  await c.rejects('LEASE_NOT_FOUND', c.api.txn(txn(leased, ignoring)));
  await c.rejects('KEY_NOT_FOUND', c.api.txn(txn(ignoring, leased)));
  await c.rejects('LEASE_NOT_FOUND', c.api.txn(txn(future, leased)));
  await c.rejects('KEY_NOT_FOUND', c.api.txn(txn(future, ignoring)));
});

add('a malformed operation comes before a duplicate key', async (c) => {
  await c.rejects('KEY_NOT_FOUND', c.api.txn(txn(c.putOp('a'), c.putOp('a'), { type: 'none' })));
});

add('a ttl too large comes before a lease in use', async (c) => {
  const id = await c.grant();
  await c.rejects('LEASE_TTL_TOO_LARGE', c.api.leaseGrant({ id, ttlSeconds: 9_999_999_999 }));
  await c.api.leaseRevoke({ id });
});

add(
  'without space that is the first thing told, but a request too large before it',
  { fresh: true },
  async (c) => {
    const memberId = (await c.api.status()).header.memberId;
    const id = await c.grant();
    await c.api.alarm({ action: 'activate', memberId, alarm: 'nospace' });
    await c.rejects('NO_SPACE', c.put('k', 'v', { lease: UNKNOWN_LEASE }));
    await c.rejects('NO_SPACE', c.api.put({ key: c.key('missing'), ignoreValue: true }));
    await c.rejects('NO_SPACE', c.api.leaseGrant({ id, ttlSeconds: 10 }));
    await c.rejects('NO_SPACE', c.api.leaseGrant({ id: 0n, ttlSeconds: 9_999_999_999 }));
    await c.rejects('NO_SPACE', c.api.txn(txn(c.getOp('k', { revision: 1_000_000 }), c.putOp('k'))));
    await c.rejects('REQUEST_TOO_LARGE', c.api.put({ key: c.key('k'), value: new Uint8Array(1_600_000) }));
    await c.rejects('EMPTY_KEY', c.api.put({ key: utf8(''), value: utf8('v') }));
  },
);
