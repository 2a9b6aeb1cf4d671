/** `--discovery-srv`: the members of a new cluster out of DNS. */
import { lookup, resolveSrv } from 'node:dns/promises';
import type { Config } from './config.ts';
import { StartRefused } from './start-refused.ts';

/** What is asked of DNS. */
export type Resolver = {
  /** Rejects when there are no such records. */
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  /** One address of a host. */
  address(host: string): Promise<string>;
};

const DNS: Resolver = { srv: resolveSrv, address: async (host) => (await lookup(host)).address };

/**
 * The config with the initial cluster that the records name: `_etcd-server-ssl._tcp.<domain>` and
 * `_etcd-server._tcp.<domain>`, with `--discovery-srv-name` behind the service. This member is the one whose
 * advertised peer URL leads to the same address and port; the others are numbered, as in etcd.
 */
export async function discovered(config: Config, dns: Resolver = DNS): Promise<Config> {
  const { discoverySrv } = config;
  if (discoverySrv === undefined) return config;
  const suffix = discoverySrv.name === '' ? '' : `-${discoverySrv.name}`;
  const own = new Set(await Promise.all(config.advertisePeerUrls.map((url) => whereOf(url, dns))));
  const initialCluster = new Map<string, readonly string[]>();
  const problems: string[] = [];
  let number = 0;
  for (const [scheme, service] of [
    ['https', `etcd-server-ssl${suffix}`],
    ['http', `etcd-server${suffix}`],
  ] as const) {
    const record = `_${service}._tcp.${discoverySrv.domain}`;
    try {
      for (const { name, port } of await dns.srv(record)) {
        const url = `${scheme}://${name.replace(/\.$/, '')}:${port}`;
        const member = own.has(await whereOf(url, dns)) ? config.name : String(number++);
        initialCluster.set(member, [...(initialCluster.get(member) ?? []), url].sort());
      }
    } catch (error) {
      problems.push(`${record}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
    }
  }
  if (initialCluster.size === 0) {
    throw new StartRefused(`error setting up initial cluster: no SRV records (${problems.join(', ')})`);
  }
  return { ...config, initialCluster };
}

/** Scheme, address and port that a URL leads to; the host as it stands where DNS knows it not. */
async function whereOf(url: string, dns: Resolver): Promise<string> {
  const { protocol, hostname, port } = new URL(url);
  const address = await dns.address(hostname.replace(/^\[(.*)\]$/, '$1')).catch(() => hostname);
  return `${protocol}${address}:${port}`;
}
