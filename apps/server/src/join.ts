/** Joining a running cluster: its members say who they are, and which of them this one is to be. */
import type { MemberInfo } from '@muster/kv';
import { type ClusterInfo, idText, speaksWith } from '@muster/wire';
import { StartRefused } from './command-line.ts';
import type { Config } from './config.ts';
import { sameUrls } from './peer-urls.ts';

type JoinedCluster = {
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly members: readonly MemberInfo[];
};

/** Asks the member that listens at a peer URL. */
export type AskMember = (peerUrl: string) => Promise<ClusterInfo>;

/**
 * Asks the other members of `--initial-cluster` one after the other; the first answer that fits counts. Throws
 * `StartRefused` in etcd's words when nobody answers or the flags do not describe the cluster that there is.
 */
export async function joinedCluster(config: Config, ask: AskMember): Promise<JoinedCluster> {
  const others = [...config.initialCluster].filter(([name]) => name !== config.name);
  const urls = others.flatMap(([, peerUrls]) => peerUrls).sort();
  let refusal = new StartRefused(
    'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs',
  );
  for (const url of urls) {
    const info = await ask(url).catch(() => undefined);
    if (info === undefined) continue;
    const found = await matched(config, info);
    if (!(found instanceof StartRefused)) return found;
    // One that lags behind may know the members of yesterday: another one is asked.
    refusal = found;
  }
  throw refusal;
}

async function matched(config: Config, info: ClusterInfo): Promise<JoinedCluster | StartRefused> {
  if (!speaksWith(info)) {
    return new StartRefused(
      `incompatible with current running cluster: its member of version ${info.serverVersion} speaks peer protocol ` +
        `${info.versionMin} to ${info.versionMax}`,
    );
  }
  const invalid = (why: string) => new StartRefused(`error validating peerURLs ${clusterText(info)}: ${why}`);
  if (info.members.length !== config.initialCluster.size) return invalid('member count is unequal');
  let self: MemberInfo | undefined;
  for (const member of info.members) {
    const name = await nameOf(config, member);
    if (name === undefined) {
      const urls = member.peerUrls.join(' ');
      return invalid(`PeerURLs: no match found for existing member (${idText(member.id)}, [${urls}])`);
    }
    if (name === config.name) self = member;
  }
  if (self === undefined) return invalid(`none of the members is ${config.name}`);
  if (self.clientUrls.length > 0) {
    return new StartRefused(
      `member ${idText(self.id)} has already been bootstrapped: what it voted and acknowledged is lost with its data, ` +
        'so it must not take part under the same id. Restore its data directory, or remove the member and add it anew',
    );
  }
  return { memberId: self.id, clusterId: info.clusterId, members: info.members };
}

/** Which of the flag's members has these peer URLs. */
async function nameOf(config: Config, { peerUrls }: MemberInfo): Promise<string | undefined> {
  for (const [name, urls] of config.initialCluster) if (await sameUrls(urls, peerUrls)) return name;
  return undefined;
}

/** As etcd prints it. */
function clusterText({ clusterId, members, removed }: ClusterInfo): string {
  const one = (m: MemberInfo) =>
    `&{ID:${idText(m.id)} RaftAttributes:{PeerURLs:[${m.peerUrls.join(' ')}] IsLearner:${m.isLearner}} ` +
    `Attributes:{Name:${m.name} ClientURLs:[${m.clientUrls.join(' ')}]}}`;
  const ids = removed.map(idText).join(' ');
  return `{ClusterID:${idText(clusterId)} Members:[${members.map(one).join(' ')}] RemovedMemberIDs:[${ids}]}`;
}
