import type { LeaseGrantRequest, LeaseGrantResult, LeaseTimeToLiveResult, WithHeader } from '@muster/kv';
import {
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  LeaseKeepAliveRequestSchema,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesRequestSchema,
  LeaseLeasesResponseSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  LeaseTimeToLiveResponseSchema,
} from '../gen/rpc_pb.js';
import { codecOf, emptyCodec } from './codec.ts';
import { headerMessage, headerOf, numberOf } from './header.ts';

type Id = { readonly id: bigint };

export const leaseGrantRequest = codecOf(
  LeaseGrantRequestSchema,
  ({ id, ttlSeconds }: LeaseGrantRequest) => ({ ID: id, TTL: BigInt(ttlSeconds) }),
  ({ ID, TTL }): LeaseGrantRequest => ({ id: ID, ttlSeconds: numberOf(TTL) }),
);

export const leaseGrantResponse = codecOf(
  LeaseGrantResponseSchema,
  (result: WithHeader<LeaseGrantResult>) => ({
    header: headerMessage(result.header),
    ID: result.id,
    TTL: BigInt(result.ttlSeconds),
  }),
  ({ header, ID, TTL }) => ({ header: headerOf(header), id: ID, ttlSeconds: numberOf(TTL) }),
);

export const leaseRevokeRequest = codecOf(
  LeaseRevokeRequestSchema,
  ({ id }: Id) => ({ ID: id }),
  ({ ID }): Id => ({ id: ID }),
);

export const leaseKeepAliveRequest = codecOf(
  LeaseKeepAliveRequestSchema,
  ({ id }: Id) => ({ ID: id }),
  ({ ID }): Id => ({ id: ID }),
);

export const leaseKeepAliveResponse = codecOf(
  LeaseKeepAliveResponseSchema,
  (result: WithHeader<Id & { readonly ttlSeconds: number }>) => ({
    header: headerMessage(result.header),
    ID: result.id,
    TTL: BigInt(result.ttlSeconds),
  }),
  ({ header, ID, TTL }) => ({ header: headerOf(header), id: ID, ttlSeconds: numberOf(TTL) }),
);

export const leaseTimeToLiveRequest = codecOf(
  LeaseTimeToLiveRequestSchema,
  ({ id, keys }: Id & { readonly keys?: boolean }) => ({ ID: id, keys: keys ?? false }),
  ({ ID, keys }): Id & { readonly keys?: boolean } => ({ id: ID, keys }),
);

export const leaseTimeToLiveResponse = codecOf(
  LeaseTimeToLiveResponseSchema,
  (result: WithHeader<LeaseTimeToLiveResult>) => ({
    header: headerMessage(result.header),
    ID: result.id,
    TTL: BigInt(result.ttlSeconds),
    grantedTTL: BigInt(result.grantedTtlSeconds),
    keys: [...result.keys],
  }),
  ({ header, ID, TTL, grantedTTL, keys }) => ({
    header: headerOf(header),
    id: ID,
    ttlSeconds: numberOf(TTL),
    grantedTtlSeconds: numberOf(grantedTTL),
    keys,
  }),
);

export const leaseLeasesRequest = emptyCodec(LeaseLeasesRequestSchema);

export const leaseLeasesResponse = codecOf(
  LeaseLeasesResponseSchema,
  (result: WithHeader<{ readonly leases: readonly bigint[] }>) => ({
    header: headerMessage(result.header),
    leases: result.leases.map((ID) => ({ ID })),
  }),
  ({ header, leases }) => ({ header: headerOf(header), leases: leases.map(({ ID }) => ID) }),
);
