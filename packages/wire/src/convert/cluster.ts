import type { EtcdApi, MemberInfo, MembersResult, ResponseHeader, WithHeader } from '@muster/kv';
import {
  MemberAddRequestSchema,
  MemberAddResponseSchema,
  MemberListRequestSchema,
  MemberListResponseSchema,
  type Member as MemberMessage,
  MemberPromoteRequestSchema,
  MemberRemoveRequestSchema,
  MemberUpdateRequestSchema,
} from '../gen/rpc_pb.js';
import { type Codec, codecOf } from './codec.ts';
import { headerMessage, headerOf } from './header.ts';
import { ProtoError } from './proto-reader.ts';

type Id = { readonly id: bigint };

function memberMessage(member: MemberInfo) {
  return {
    ID: member.id,
    name: member.name,
    peerURLs: [...member.peerUrls],
    clientURLs: [...member.clientUrls],
    isLearner: member.isLearner,
  };
}

function memberOf({ ID, name, peerURLs, clientURLs, isLearner }: MemberMessage): MemberInfo {
  return { id: ID, name, peerUrls: peerURLs, clientUrls: clientURLs, isLearner };
}

/** etcd has a message for each of the calls, all with the same fields. */
export const membersResponse: Codec<WithHeader<MembersResult>> = codecOf(
  MemberListResponseSchema,
  ({ header, members }: WithHeader<MembersResult>) => ({
    header: headerMessage(header),
    members: members.map(memberMessage),
  }),
  ({ header, members }) => ({ header: headerOf(header), members: members.map(memberOf) }),
);

export const memberListRequest = codecOf(
  MemberListRequestSchema,
  ({ linearizable }: { readonly linearizable?: boolean }) => ({ linearizable: linearizable ?? false }),
  ({ linearizable }): { readonly linearizable?: boolean } => ({ linearizable }),
);

export const memberAddRequest = codecOf(
  MemberAddRequestSchema,
  (request: Parameters<EtcdApi['memberAdd']>[0]) => ({
    peerURLs: [...request.peerUrls],
    isLearner: request.isLearner ?? false,
  }),
  ({ peerURLs, isLearner }) => ({ peerUrls: peerURLs, isLearner }),
);

export const memberAddResponse = codecOf(
  MemberAddResponseSchema,
  (result: WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>) => ({
    header: headerMessage(result.header),
    member: memberMessage(result.member),
    members: result.members.map(memberMessage),
  }),
  ({ header, member, members }) => addedOf(headerOf(header), member, members),
);

function addedOf(
  header: ResponseHeader,
  member: MemberMessage | undefined,
  members: readonly MemberMessage[],
) {
  if (member === undefined) throw new ProtoError('an added member that is not there');
  return { header, member: memberOf(member), members: members.map(memberOf) };
}

export const memberRemoveRequest = codecOf(
  MemberRemoveRequestSchema,
  ({ id }: Id) => ({ ID: id }),
  ({ ID }): Id => ({ id: ID }),
);

export const memberUpdateRequest = codecOf(
  MemberUpdateRequestSchema,
  ({ id, peerUrls }: Id & { readonly peerUrls: readonly string[] }) => ({ ID: id, peerURLs: [...peerUrls] }),
  ({ ID, peerURLs }): Id & { readonly peerUrls: readonly string[] } => ({ id: ID, peerUrls: peerURLs }),
);

export const memberPromoteRequest = codecOf(
  MemberPromoteRequestSchema,
  ({ id }: Id) => ({ ID: id }),
  ({ ID }): Id => ({ id: ID }),
);
