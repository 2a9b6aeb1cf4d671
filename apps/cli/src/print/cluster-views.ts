import type { Alarm, HashKvResult, MemberInfo, StatusResult, WithHeader } from '@muster/kv';
import { type GoValue, goQuote, humanBytes, omitEmpty } from './go-text.ts';
import { headerFields, headerJson } from './header.ts';
import type { MessageView, TableView, View } from './printer.ts';

export type Members = WithHeader<{ readonly members: readonly MemberInfo[] }>;

/** Member and cluster ids as etcdctl prints them: hexadecimal without leading zeros. */
export function idText(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}

export function memberListView(result: Members): View {
  const table = memberTable(result.members);
  return {
    simple: () => table.rows.map((row) => `${row.join(', ')}\n`),
    fields: () => [headerFields(result.header), ...result.members.map(memberFieldLines)],
    table: () => table,
    message: () => membersMessage('MemberListResponse', result),
  };
}

/** Of remove, update and promote: one line that says what was done. */
export function memberChangeView(text: string, name: string, result: Members): View {
  return {
    simple: () => [text],
    fields: () => [headerFields(result.header), ...result.members.map(memberFieldLines)],
    message: () => membersMessage(name, result),
  };
}

export function memberAddView(result: Members & { readonly member: MemberInfo }, name: string): View {
  const { header, member, members } = result;
  const peers = members.flatMap((one) =>
    one.peerUrls.map((url) => `${one.id === member.id ? name : one.name}=${url}`),
  );
  return {
    simple: () => [
      `Member ${idText(member.id).padStart(16, ' ')} added to cluster ${idText(header.clusterId).padStart(16, ' ')}\n`,
      `\nETCD_NAME="${name}"\nETCD_INITIAL_CLUSTER="${peers.join(',')}"\n`,
      `ETCD_INITIAL_ADVERTISE_PEER_URLS="${member.peerUrls.join(',')}"\n`,
      'ETCD_INITIAL_CLUSTER_STATE="existing"\n',
    ],
    fields: () => [headerFields(header), ...members.map(memberFieldLines)],
    message: () => ({
      name: 'MemberAddResponse',
      fields: omitEmpty({
        header: headerJson(header),
        member: memberFields(member),
        members: members.map(memberFields),
      }),
    }),
  };
}

function memberTable(members: readonly MemberInfo[]): TableView {
  return {
    head: ['ID', 'STATUS', 'NAME', 'PEER ADDRS', 'CLIENT ADDRS', 'IS LEARNER'],
    rows: members.map((member) => [
      idText(member.id),
      member.name === '' ? 'unstarted' : 'started',
      member.name,
      member.peerUrls.join(','),
      member.clientUrls.join(','),
      String(member.isLearner),
    ]),
  };
}

function memberFieldLines(member: MemberInfo): string {
  const urls = (name: string, list: readonly string[]) =>
    list.map((url) => `"${name}" : ${goQuote(url)}\n`).join('');
  return (
    `"ID" : ${member.id}\n"Name" : ${goQuote(member.name)}\n${urls('PeerURL', member.peerUrls)}` +
    `${urls('ClientURL', member.clientUrls)}"IsLearner" : ${member.isLearner}\n\n`
  );
}

function memberFields(member: MemberInfo): GoValue {
  return omitEmpty({
    ID: member.id,
    name: member.name,
    peerURLs: member.peerUrls,
    clientURLs: member.clientUrls,
    isLearner: member.isLearner,
  });
}

function membersMessage(name: string, result: Members): MessageView {
  return {
    name,
    fields: omitEmpty({ header: headerJson(result.header), members: result.members.map(memberFields) }),
  };
}

export type EndpointStatus = { readonly endpoint: string; readonly status: WithHeader<StatusResult> };

export function statusView(list: readonly EndpointStatus[]): View {
  const table: TableView = {
    head: [
      'ENDPOINT',
      'ID',
      'VERSION',
      'DB SIZE',
      'IS LEADER',
      'IS LEARNER',
      'RAFT TERM',
      'RAFT INDEX',
      'RAFT APPLIED INDEX',
      'ERRORS',
    ],
    rows: list.map(({ endpoint, status }) => [
      endpoint,
      idText(status.header.memberId),
      status.version,
      humanBytes(status.dbSize),
      String(status.leader === status.header.memberId),
      String(status.isLearner),
      String(status.raftTerm),
      String(status.raftIndex),
      String(status.raftAppliedIndex),
      status.errors.join(', '),
    ]),
  };
  return {
    simple: () => table.rows.map((row) => `${row.join(', ')}\n`),
    fields: () => list.map(statusFieldLines),
    json: () => list.map(({ endpoint, status }) => ({ Endpoint: endpoint, Status: statusFields(status) })),
    table: () => table,
  };
}

function statusFieldLines({ endpoint, status }: EndpointStatus): string {
  return (
    `${headerFields(status.header)}"Version" : ${goQuote(status.version)}\n"DBSize" : ${status.dbSize}\n` +
    `"Leader" : ${status.leader}\n"IsLearner" : ${status.isLearner}\n"RaftIndex" : ${status.raftIndex}\n` +
    `"RaftTerm" : ${status.raftTerm}\n"RaftAppliedIndex" : ${status.raftAppliedIndex}\n` +
    `"Errors" : [${status.errors.map(goQuote).join(' ')}]\n"Endpoint" : ${goQuote(endpoint)}\n\n`
  );
}

function statusFields(status: WithHeader<StatusResult>): GoValue {
  return omitEmpty({
    header: headerJson(status.header),
    version: status.version,
    dbSize: status.dbSize,
    leader: status.leader,
    raftIndex: status.raftIndex,
    raftTerm: status.raftTerm,
    raftAppliedIndex: status.raftAppliedIndex,
    errors: status.errors,
    dbSizeInUse: status.dbSizeInUse,
    isLearner: status.isLearner,
  });
}

export type EndpointHash = { readonly endpoint: string; readonly hash: WithHeader<HashKvResult> };

export function hashKvView(list: readonly EndpointHash[]): View {
  const rows = list.map(({ endpoint, hash }) => [endpoint, String(hash.hash)]);
  return {
    simple: () => rows.map((row) => `${row.join(', ')}\n`),
    fields: () =>
      list.map(
        ({ endpoint, hash }) =>
          `${headerFields(hash.header)}"Endpoint" : ${goQuote(endpoint)}\n"Hash" : ${hash.hash}\n\n`,
      ),
    json: () =>
      list.map(({ endpoint, hash }) => ({
        Endpoint: endpoint,
        HashKV: omitEmpty({
          header: headerJson(hash.header),
          hash: hash.hash,
          compact_revision: hash.compactRevision,
        }),
      })),
    table: () => ({ head: ['ENDPOINT', 'HASH'], rows }),
  };
}

/** `took` as Go prints a duration. */
export type EndpointHealth = {
  readonly endpoint: string;
  readonly health: boolean;
  readonly took: string;
  readonly error: string;
};

/** Of the formats other than simple, which is written to standard error. */
export function healthView(list: readonly EndpointHealth[]): View {
  return {
    simple: () => [],
    fields: () =>
      list.map(
        (one) =>
          `"Endpoint" : ${goQuote(one.endpoint)}\n"Health" : ${one.health}\n"Took" : ${one.took}\n` +
          `"Error" : ${one.error}\n\n`,
      ),
    json: () =>
      list.map(({ endpoint, health, took, error }) => ({
        endpoint,
        health,
        took,
        ...(error === '' ? {} : { error }),
      })),
    table: () => ({
      head: ['ENDPOINT', 'HEALTH', 'TOOK', 'ERROR'],
      rows: list.map((one) => [one.endpoint, String(one.health), one.took, one.error]),
    }),
  };
}

const ALARM_NUMBERS = { none: 0, nospace: 1, corrupt: 2 } as const;

export function alarmView(result: WithHeader<{ readonly alarms: readonly Alarm[] }>): View {
  const { header, alarms } = result;
  return {
    simple: () => alarms.map((one) => `memberID:${one.memberId} alarm:${one.alarm.toUpperCase()} \n`),
    fields: () => [
      headerFields(header),
      ...alarms.map((one) => `"MemberID" : ${one.memberId}\n"AlarmType" : ${one.alarm.toUpperCase()}\n\n`),
    ],
    message: () => ({
      name: 'AlarmResponse',
      fields: omitEmpty({
        header: headerJson(header),
        alarms: alarms.map((one) => omitEmpty({ memberID: one.memberId, alarm: ALARM_NUMBERS[one.alarm] })),
      }),
    }),
  };
}

/** Of a call whose answer is nothing but its header. */
export function doneView(text: string, name: string, result: WithHeader<unknown>): View {
  return {
    simple: () => [text],
    fields: () => [headerFields(result.header)],
    message: () => ({ name, fields: omitEmpty({ header: headerJson(result.header) }) }),
  };
}
