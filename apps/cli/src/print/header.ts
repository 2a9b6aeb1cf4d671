import type { ResponseHeader } from '@muster/kv';
import { type GoValue, omitEmpty } from './go-text.ts';

export function headerFields(header: ResponseHeader): string {
  return (
    `"ClusterID" : ${header.clusterId}\n"MemberID" : ${header.memberId}\n` +
    `"Revision" : ${header.revision ?? 0}\n"RaftTerm" : ${header.raftTerm}\n`
  );
}

/** Under the proto names; what is 0 is left out. */
export function headerMembers(header: ResponseHeader): { [name: string]: GoValue } {
  return omitEmpty({
    cluster_id: header.clusterId,
    member_id: header.memberId,
    revision: header.revision,
    raft_term: header.raftTerm,
  });
}

/** Absent where the server sent none: everything in it is 0. */
export function headerJson(header: ResponseHeader): { [name: string]: GoValue } | undefined {
  const members = headerMembers(header);
  return Object.keys(members).length === 0 ? undefined : members;
}
