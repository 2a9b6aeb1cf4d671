/** `/v1/leases`. A dead lease is 410, never a number to be read as something else. */
import { idToHex, KvError, leaseIdFromHex, parseSeconds } from '@muster/contract';
import type { ResponseHeader } from '@muster/kv';
import type { V1Context } from '../context.ts';
import { keyName } from '../entries.ts';
import { problemOf } from '../errors.ts';
import type { V1Request } from '../router.ts';
import { json, storeHeaders } from './kv.ts';

export async function grantLease(context: V1Context, request: V1Request<'grantLease'>): Promise<Response> {
  const body = await request.json();
  const ttlSeconds = parseSeconds(body.ttl) as number;
  if (ttlSeconds === 0)
    throw new KvError('BAD_REQUEST', { detail: 'body /ttl: at least one second expected' });
  const id = body.id === undefined ? 0n : (leaseIdFromHex(body.id) as bigint);
  const granted = await context.api.leaseGrant({ id, ttlSeconds }, request.call);
  const headers = leaseHeaders(context, granted.header);
  const hex = idToHex(granted.id);
  headers.set('location', `/v1/leases/${hex}`);
  return json({ id: hex, ttl: granted.ttlSeconds, grantedTtl: granted.ttlSeconds }, 201, headers);
}

export async function listLeases(context: V1Context, request: V1Request<'listLeases'>): Promise<Response> {
  const { header, leases } = await context.api.leaseLeases(request.call);
  return json({ leases: leases.map(idToHex).sort() }, 200, leaseHeaders(context, header));
}

export async function getLease(context: V1Context, request: V1Request<'getLease'>): Promise<Response> {
  const id = leaseId(request.path('id'));
  const lease = await context.api.leaseTimeToLive({ id, keys: request.query.keys === true }, request.call);
  if (lease.ttlSeconds < 0) throw gone(id);
  const body = {
    id: idToHex(lease.id),
    ttl: lease.ttlSeconds,
    grantedTtl: lease.grantedTtlSeconds,
    ...(request.query.keys ? { keys: lease.keys.map(keyName) } : {}),
  };
  return json(body, 200, leaseHeaders(context, lease.header));
}

export async function revokeLease(context: V1Context, request: V1Request<'revokeLease'>): Promise<Response> {
  const { header } = await context.api.leaseRevoke({ id: leaseId(request.path('id')) }, request.call);
  return new Response(null, { status: 204, headers: leaseHeaders(context, header) });
}

export async function keepAliveLease(
  context: V1Context,
  request: V1Request<'keepAliveLease'>,
): Promise<Response> {
  const id = leaseId(request.path('id'));
  const { header, ttlSeconds } = await context.api.leaseKeepAlive({ id }, request.call);
  if (ttlSeconds <= 0) throw gone(id);
  return json({ id: idToHex(id), ttl: ttlSeconds }, 200, leaseHeaders(context, header));
}

export async function keepAliveLeases(
  context: V1Context,
  request: V1Request<'keepAliveLeases'>,
): Promise<Response> {
  const { ids } = await request.json();
  if (ids.length > context.limits.keepaliveIds) {
    throw new KvError('BAD_REQUEST', {
      detail: `body /ids: at most ${context.limits.keepaliveIds} expected`,
    });
  }
  const one = async (text: string) => {
    const id = leaseId(text);
    try {
      const { ttlSeconds } = await context.api.leaseKeepAlive({ id }, request.call);
      return { id: idToHex(id), ttl: Math.max(0, ttlSeconds) };
    } catch (error) {
      return { id: idToHex(id), ttl: 0, problem: problemOf(error) };
    }
  };
  const results = await Promise.all(ids.map(one));
  return json({ results }, 200, new Headers({ 'cache-control': 'no-store' }));
}

function leaseId(text: string): bigint {
  return leaseIdFromHex(text) as bigint;
}

function leaseHeaders(context: V1Context, header: ResponseHeader): Headers {
  const headers = storeHeaders(context, header);
  headers.set('cache-control', 'no-store');
  return headers;
}

function gone(id: bigint): KvError {
  return new KvError('LEASE_NOT_FOUND', {
    detail: `lease ${idToHex(id)} is gone, and the keys on it with it`,
  });
}
