/** Locks and elections. */
import type { ConcurrencyApi, KeyValue, LeaderKey, WithHeader } from '@muster/kv';
import {
  CampaignRequestSchema,
  CampaignResponseSchema,
  type LeaderKey as LeaderKeyMessage,
  LeaderRequestSchema,
  LeaderResponseSchema,
  ProclaimRequestSchema,
  ResignRequestSchema,
} from '../gen/election_pb.js';
import type { KeyValue as KeyValueMessage } from '../gen/kv_pb.js';
import { LockRequestSchema, LockResponseSchema, UnlockRequestSchema } from '../gen/lock_pb.js';
import { codecOf } from './codec.ts';
import { headerMessage, headerOf, numberOf } from './header.ts';
import { ProtoError } from './proto-reader.ts';

type Request<M extends keyof ConcurrencyApi> = Parameters<ConcurrencyApi[M]>[0];

export const lockRequest = codecOf(
  LockRequestSchema,
  ({ name, lease }: Request<'lock'>) => ({ name, lease }),
  ({ name, lease }) => ({ name, lease }),
);

export const lockResponse = codecOf(
  LockResponseSchema,
  ({ header, key }: WithHeader<{ readonly key: Uint8Array }>) => ({ header: headerMessage(header), key }),
  ({ header, key }) => ({ header: headerOf(header), key }),
);

export const unlockRequest = codecOf(
  UnlockRequestSchema,
  ({ key }: Request<'unlock'>) => ({ key }),
  ({ key }) => ({ key }),
);

const leaderKeyMessage = ({ name, key, rev, lease }: LeaderKey) => ({ name, key, rev: BigInt(rev), lease });

function leaderKeyOf(message: LeaderKeyMessage | undefined): LeaderKey | undefined {
  if (message === undefined) return undefined;
  const { name, key, rev, lease } = message;
  return { name, key, rev: numberOf(rev), lease };
}

export const campaignRequest = codecOf(
  CampaignRequestSchema,
  ({ name, lease, value }: Request<'campaign'>) => ({ name, lease, value }),
  ({ name, lease, value }) => ({ name, lease, value }),
);

export const campaignResponse = codecOf(
  CampaignResponseSchema,
  ({ header, leader }: WithHeader<{ readonly leader: LeaderKey }>) => ({
    header: headerMessage(header),
    leader: leaderKeyMessage(leader),
  }),
  ({ header, leader }) => ({ header: headerOf(header), leader: present(leaderKeyOf(leader)) }),
);

export const proclaimRequest = codecOf(
  ProclaimRequestSchema,
  ({ leader, value }: Request<'proclaim'>) => ({
    value,
    ...(leader === undefined ? {} : { leader: leaderKeyMessage(leader) }),
  }),
  ({ leader, value }): Request<'proclaim'> => ({ leader: leaderKeyOf(leader), value }),
);

export const leaderRequest = codecOf(
  LeaderRequestSchema,
  ({ name }: Request<'leader'>) => ({ name }),
  ({ name }) => ({ name }),
);

const keyValueMessage = (kv: KeyValue) => ({
  key: kv.key,
  value: kv.value,
  createRevision: BigInt(kv.createRevision),
  modRevision: BigInt(kv.modRevision),
  version: BigInt(kv.version),
  lease: kv.lease,
});

const keyValueOf = (message: KeyValueMessage): KeyValue => ({
  key: message.key,
  value: message.value,
  createRevision: numberOf(message.createRevision),
  modRevision: numberOf(message.modRevision),
  version: numberOf(message.version),
  lease: message.lease,
});

export const leaderResponse = codecOf(
  LeaderResponseSchema,
  ({ header, kv }: WithHeader<{ readonly kv: KeyValue }>) => ({
    header: headerMessage(header),
    kv: keyValueMessage(kv),
  }),
  ({ header, kv }) => ({ header: headerOf(header), kv: keyValueOf(present(kv)) }),
);

export const resignRequest = codecOf(
  ResignRequestSchema,
  ({ leader }: Request<'resign'>) => (leader === undefined ? {} : { leader: leaderKeyMessage(leader) }),
  ({ leader }): Request<'resign'> => ({ leader: leaderKeyOf(leader) }),
);

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new ProtoError('an answer without what it is about');
  return value;
}
