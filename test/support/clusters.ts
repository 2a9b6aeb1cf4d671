/** What the SDK is tried on: Muster's own members, and the stand-alone gateway before members of etcd. */
import { debianProgram } from './debian.ts';
import { startEtcdCluster } from './etcd-cluster.ts';
import { makeGateway } from './gateway.ts';
import { startMuster } from './muster.ts';
import { freePorts } from './ports.ts';

type TestMember = {
  readonly clientUrl: string;
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<unknown>;
};

export type TestCluster = {
  readonly members: readonly TestMember[];
  readonly endpoints: readonly string[];
  close(): Promise<void>;
};

export type ClusterKind = {
  readonly name: string;
  /** Why it cannot run here. */
  readonly skip: string | false;
  /** `size` places to talk to, all serving. */
  start(size: number): Promise<TestCluster>;
};

const etcd = debianProgram('etcd', 'etcd-server');

export const CLUSTER_KINDS: readonly ClusterKind[] = [
  { name: 'members of Muster', skip: false, start: startMuster },
  {
    name: 'gateways before members of etcd',
    skip: etcd === undefined ? 'the etcd-server package of Debian is missing' : false,
    start: (size) => startGateways(etcd as string, size),
  },
];

/** One gateway and one member of etcd stand and fall together; every gateway knows all members. */
async function startGateways(program: string, size: number): Promise<TestCluster> {
  const store = await startEtcdCluster(program, size);
  const ports = await freePorts(size);
  const gateways = ports.map((port) => makeGateway(port, store.endpoints));
  const close = async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop('SIGKILL')));
    await store.close();
  };
  try {
    await Promise.all(gateways.map((gateway) => gateway.start()));
  } catch (error) {
    await close();
    throw error;
  }
  const members = gateways.map((gateway, i) => {
    const member = store.members[i];
    return {
      clientUrl: gateway.url,
      start: async () => void (await Promise.all([member?.start(), gateway.start()])),
      stop: (signal?: NodeJS.Signals) => Promise.all([member?.stop(signal), gateway.stop(signal)]),
    };
  });
  return { members, endpoints: members.map((member) => member.clientUrl), close };
}
