import type { Group } from '../line/command.ts';
import { AUTH_COMMANDS } from './auth.ts';
import { CLUSTER_COMMANDS } from './cluster.ts';
import { KV_COMMANDS } from './kv.ts';
import { LEASE } from './lease.ts';
import { OTHER_COMMANDS } from './other.ts';
import { SERVICE } from './service.ts';

/** Everything that musterctl can do, under the name it was called by. */
export function rootCommand(name: string): Group {
  const children = [
    ...AUTH_COMMANDS,
    ...CLUSTER_COMMANDS,
    ...KV_COMMANDS,
    LEASE,
    ...OTHER_COMMANDS,
    SERVICE,
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { name, summary: 'Command line client for Muster and etcd', children };
}
