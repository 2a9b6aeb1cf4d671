import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MemberInfo } from '@muster/kv';
import { foundedCluster, identify, join } from './bootstrap.ts';
import { readCommandLine, StartRefused } from './command-line.ts';
import { type Config, configOf } from './config.ts';
import type { AskMember } from './join.ts';

const P = 'http://127.0.0.1:';

function config(...args: string[]): Config {
  return configOf(readCommandLine(args, {}));
}

function three(name: string, port: number, ...more: string[]): Config {
  const cluster = `n1=${P}21421,n2=${P}21422,n3=${P}21423`;
  const own = [`--name=${name}`, `--initial-advertise-peer-urls=${P}${port}`];
  return config(...own, `--initial-cluster=${cluster}`, '--initial-cluster-token=tok-7', ...more);
}

async function refused(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof StartRefused, String(error));
    assert.equal(error.exitCode, 1);
    return error.message;
  }
  assert.fail('accepted');
}

describe('bootstrap', () => {
  it('computes the ids that etcd computes for its defaults', async () => {
    const cluster = await foundedCluster(config());
    assert.equal(cluster.memberId, 0x8e9e05c52164694dn);
    assert.equal(cluster.clusterId, 0xcdf818194e3a8c32n);
  });

  it('computes the ids that etcd 3.4.23 listed for three members with a token', async () => {
    const cluster = await foundedCluster(three('n2', 21422));
    assert.deepEqual(
      Object.fromEntries(cluster.members.map((member) => [member.peerUrls[0], member.id.toString(16)])),
      {
        [`${P}21421`]: 'ca5b7d01d7a0e267',
        [`${P}21422`]: '2253d91fc9a4fd4b',
        [`${P}21423`]: '6a75a0e0d533f01b',
      },
    );
    assert.equal(cluster.clusterId, 10069654452095653846n);
    assert.equal(cluster.memberId.toString(16), '2253d91fc9a4fd4b');
  });

  it('computes the ids that etcd 3.4.23 listed for a member with two peer URLs', async () => {
    const urls = `${P}21424,${P}21423`;
    const cluster = await foundedCluster(
      config(
        `--initial-advertise-peer-urls=${urls}`,
        `--initial-cluster=default=${P}21424,default=${P}21423`,
      ),
    );
    assert.equal(cluster.memberId.toString(16), 'c559a98b27a87c29');
    assert.equal(cluster.clusterId, 13308511762592647542n);
  });

  it("refuses contradictions in etcd's words", async () => {
    assert.equal(
      await refused(foundedCluster(config('--name=b', `--initial-cluster=a=${P}21411`))),
      'couldn\'t find local name "b" in the initial cluster configuration',
    );
    assert.equal(
      await refused(foundedCluster(config(`--initial-advertise-peer-urls=${P}21411`))),
      `--initial-cluster has default=http://localhost:2380 but missing from --initial-advertise-peer-urls=${P}21411 ` +
        `(resolved urls: "${P}21411" != "http://localhost:2380")`,
    );
    assert.equal(
      await refused(
        foundedCluster(
          config(
            `--initial-advertise-peer-urls=${P}21411`,
            `--initial-cluster=default=${P}21411,b=${P}21411`,
          ),
        ),
      ),
      `initial cluster b=${P}21411,default=${P}21411 has duplicate url`,
    );
  });

  it('founds a cluster where there is no data', async () => {
    const { identity, founding } = await identify(three('n1', 21421), undefined, nobody, ignore);
    assert.equal(founding.length, 3);
    assert.equal(identity.memberId, founding.find((member) => member.name === 'n1')?.id);
  });

  it('keeps the identity that the data directory says', async () => {
    const { identity } = await identify(three('n1', 21421), undefined, nobody, ignore);
    const again = await identify(three('n1', 21421), identity, nobody, ignore);
    assert.deepEqual(again.identity.memberId, identity.memberId);
    const other = three('n1', 21421, '--initial-cluster-state=existing', '--initial-cluster-token=other');
    assert.deepEqual((await identify(other, identity, nobody, ignore)).identity.memberId, identity.memberId);
  });

  it('goes by the data directory where the flags say something else, and names it', async () => {
    const { identity } = await identify(three('n1', 21421), undefined, nobody, ignore);
    const warnings: string[] = [];
    const told = (config: Config) => identify(config, identity, nobody, (text) => warnings.push(text));
    const other = await told(three('n2', 21422));
    assert.deepEqual(other, { identity, founding: [] });
    assert.match(warnings[0] as string, /and counts: the flags describe member \w+ of cluster \w+$/);
    const unnamed = await told({ ...three('n1', 21421), name: 'nobody' });
    assert.deepEqual(unnamed, { identity, founding: [] });
    assert.match(warnings[1] as string, /couldn't find local name "nobody" in the initial cluster/);
  });
});

const ignore = () => {};
const nobody: AskMember = async (url) => {
  throw new Error(`${url} refuses connections`);
};

describe('joining', () => {
  const joiner = three('n3', 21423, '--initial-cluster-state=existing');
  const member = (id: bigint, port: number, name: string): MemberInfo => ({
    id,
    name,
    peerUrls: [`${P}${port}`],
    clientUrls: name === '' ? [] : [`${P}1`],
    isLearner: false,
  });
  const cluster = {
    clusterId: 0x3889a8b35f4d15bcn,
    versionMin: 1,
    versionMax: 1,
    serverVersion: '0.1.0',
    members: [member(0x1an, 21421, 'n1'), member(0x2bn, 21422, 'n2'), member(0x3cn, 21423, '')],
    removed: [],
  };

  it('takes its id from the cluster, and asks one member after the other', async () => {
    const asked: string[] = [];
    const start = await identify(
      joiner,
      undefined,
      async (url) => {
        asked.push(url);
        if (url === `${P}21421`) throw new Error('down');
        return cluster;
      },
      ignore,
    );
    assert.deepEqual(asked, [`${P}21421`, `${P}21422`]);
    assert.deepEqual(start.identity, { memberId: 0x3cn, clusterId: cluster.clusterId });
    assert.deepEqual([start.founding, start.joining], [[], cluster.members]);
  });

  it('refuses in the words of etcd when nobody answers or the members are others', async () => {
    assert.equal(
      await refused(identify(joiner, undefined, nobody, ignore)),
      'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs',
    );
    const two = { ...cluster, members: cluster.members.slice(1), removed: [0x1an] };
    assert.equal(
      await refused(identify(joiner, undefined, async () => two, ignore)),
      'error validating peerURLs {ClusterID:3889a8b35f4d15bc Members:[&{ID:2b RaftAttributes:{PeerURLs:' +
        `[${P}21422] IsLearner:false} Attributes:{Name:n2 ClientURLs:[${P}1]}} &{ID:3c RaftAttributes:{PeerURLs:` +
        `[${P}21423] IsLearner:false} Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[1a]}: member count is unequal`,
    );
    const elsewhere = { ...cluster, members: [...cluster.members.slice(0, 2), member(0x4dn, 9, '')] };
    assert.match(
      await refused(identify(joiner, undefined, async () => elsewhere, ignore)),
      /PeerURLs: no match found for existing member \(4d, \[http:\/\/127.0.0.1:9\]\)$/,
    );
    const newer = { ...cluster, versionMin: 7, versionMax: 9 };
    assert.match(
      await refused(identify(joiner, undefined, async () => newer, ignore)),
      /^incompatible with current running cluster/,
    );
  });

  it('refuses one that took part before and comes without its data', async () => {
    const started = { ...cluster, members: [...cluster.members.slice(0, 2), member(0x3cn, 21423, 'n3')] };
    assert.match(
      await refused(identify(joiner, undefined, async () => started, ignore)),
      /^member 3c has already been bootstrapped/,
    );
  });

  it('repeats what was cut short only as the same member of the same cluster', async () => {
    const ask: AskMember = async () => cluster;
    const stored = { memberId: 0x3cn, clusterId: cluster.clusterId };
    assert.deepEqual((await join(joiner, ask, stored)).identity, stored);
    assert.match(
      await refused(join(joiner, ask, { ...stored, memberId: 9n })),
      /belongs to member 9 of cluster/,
    );
  });
});
