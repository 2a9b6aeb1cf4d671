/** Who this member is: computed from the flags at the first start as etcd does, read from the data directory later. */
import { clusterIdOf, memberIdOf } from '@muster/disk';
import type { MemberInfo } from '@muster/kv';
import { idText, peerAddressOf } from '@muster/wire';
import { StartRefused } from './command-line.ts';
import type { Config } from './config.ts';
import { type AskMember, joinedCluster } from './join.ts';
import { resolved, sameTexts } from './peer-urls.ts';

/** What a data directory says of its member. */
export type Identity = { readonly memberId: bigint; readonly clusterId: bigint };

/** A cluster as its founders compute it, every one of them alike. */
type FoundedCluster = Identity & { readonly members: readonly MemberInfo[] };

/** The cluster that the flags describe. Throws `StartRefused` when they contradict each other. */
export async function foundedCluster(config: Config): Promise<FoundedCluster> {
  const own = await checkedCluster(config);
  const members = [...config.initialCluster].map(([name, peerUrls]) => ({
    id: memberIdOf(peerUrls, config.initialClusterToken),
    name,
    peerUrls,
    // Published by each member itself once it runs. What is here must be the same on every founder.
    clientUrls: [],
    isLearner: false,
  }));
  const clusterId = clusterIdOf(members.map((member) => member.id));
  const memberId = memberIdOf(own, config.initialClusterToken);
  return { memberId, clusterId, members };
}

/** The own peer URLs out of `--initial-cluster`, once the flags agree with one another. Throws `StartRefused`. */
async function checkedCluster(config: Config): Promise<readonly string[]> {
  const own = config.initialCluster.get(config.name);
  if (own === undefined) {
    throw new StartRefused(`couldn't find local name "${config.name}" in the initial cluster configuration`);
  }
  await checkAdvertised(config, own);
  checkDuplicates(config.initialCluster);
  for (const url of [...config.initialCluster.values()].flat()) {
    const address = peerAddressOf(url);
    if (typeof address === 'string') throw new StartRefused(`error setting up initial cluster: ${address}`);
  }
  return own;
}

/** What to start as. One that joins has neither data nor founders, and knows the members by what they said. */
type Start = {
  readonly identity: Identity;
  readonly founding: readonly MemberInfo[];
  readonly joining?: readonly MemberInfo[];
};

/**
 * `stored` is what the data directory says, if it has been used before: then it counts. Flags of the bootstrap that say
 * something else are named in a warning and ignored, as etcd does: members and their URLs change while flags stay.
 */
export async function identify(
  config: Config,
  stored: Identity | undefined,
  ask: AskMember,
  warn: (text: string) => void,
): Promise<Start> {
  if (config.initialClusterState === 'existing') {
    return stored === undefined ? join(config, ask) : { identity: stored, founding: [] };
  }
  if (stored === undefined) {
    const founded = await foundedCluster(config);
    return { identity: founded, founding: founded.members };
  }
  const founded = await foundedCluster(config).catch((error: unknown) => {
    if (!(error instanceof StartRefused)) throw error;
    return error.message;
  });
  if (typeof founded !== 'string' && sameIdentity(stored, founded)) {
    return { identity: stored, founding: founded.members };
  }
  const flags = typeof founded === 'string' ? founded : `the flags describe ${identityText(founded)}`;
  warn(`the data directory is that of ${identityText(stored)} and counts: ${flags}`);
  return { identity: stored, founding: [] };
}

function sameIdentity(a: Identity, b: Identity): boolean {
  return a.memberId === b.memberId && a.clusterId === b.clusterId;
}

function identityText({ memberId, clusterId }: Identity): string {
  return `member ${idText(memberId)} of cluster ${idText(clusterId)}`;
}

/**
 * A member that was added before, with nothing in its data directory yet. `stored` is set when an earlier attempt came as
 * far as writing down who it is.
 */
export async function join(config: Config, ask: AskMember, stored?: Identity): Promise<Start> {
  await checkedCluster(config);
  const { memberId, clusterId, members } = await joinedCluster(config, ask);
  if (stored !== undefined && !sameIdentity(stored, { memberId, clusterId })) {
    throw new StartRefused(
      `data directory ${config.dataDir} belongs to member ${idText(stored.memberId)} of cluster ` +
        `${idText(stored.clusterId)}, which never got any data, but the flags describe member ${idText(memberId)} of ` +
        `cluster ${idText(clusterId)}; expected an empty --data-dir`,
    );
  }
  return { identity: { memberId, clusterId }, founding: [], joining: members };
}

/** URLs may be written with host names on one side and addresses on the other. */
async function checkAdvertised(config: Config, own: readonly string[]): Promise<void> {
  const advertised = [...config.advertisePeerUrls].sort();
  if (sameTexts(advertised, own)) return;
  const [resolvedAdvertised, resolvedOwn] = await Promise.all([resolved(advertised), resolved(own)]);
  if (sameTexts(resolvedAdvertised, resolvedOwn)) return;
  const missing = own.filter((url) => !advertised.includes(url));
  const extra = advertised.filter((url) => !own.includes(url));
  const urls = `(resolved urls: "${resolvedAdvertised.join(',')}" != "${resolvedOwn.join(',')}")`;
  const pairs = (missing.length > 0 ? missing : own).map((url) => `${config.name}=${url}`).join(',');
  if (missing.length > 0) {
    throw new StartRefused(
      `--initial-cluster has ${pairs} but missing from --initial-advertise-peer-urls=${advertised.join(',')} ${urls}`,
    );
  }
  throw new StartRefused(
    `--initial-advertise-peer-urls has ${extra.join(',')} but missing from --initial-cluster=${pairs} ${urls}`,
  );
}

function checkDuplicates(cluster: ReadonlyMap<string, readonly string[]>): void {
  const urls = [...cluster.values()].flat();
  if (new Set(urls).size === urls.length) return;
  const names = [...cluster.keys()].sort();
  const text = names.flatMap((name) => (cluster.get(name) ?? []).map((url) => `${name}=${url}`)).join(',');
  throw new StartRefused(`initial cluster ${text} has duplicate url`);
}
