import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, PermissionType, WatchResponse } from '@muster/kv';
import type { SimCluster, SimMember } from './sim-cluster.ts';

/** The code with which a call ends, or `ok`. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'ok',
    (error) => (error instanceof KvError ? error.code : String(error)),
  );
}

/** Users `root` and `ann`, whose password is their name; ann may do as granted. Authentication is on afterwards. */
export async function withUsers(
  cluster: SimCluster,
  granted: readonly (readonly [PermissionType, string, string?])[] = [['readwrite', 'a', 'b']],
): Promise<void> {
  const { api } = await cluster.elect();
  for (const name of ['root', 'ann']) await cluster.wait(api.userAdd({ name, password: name }));
  await cluster.wait(api.userGrantRole({ user: 'root', role: 'root' }));
  await cluster.wait(api.roleAdd({ name: 'r' }));
  await cluster.wait(api.userGrantRole({ user: 'ann', role: 'r' }));
  for (const permission of granted) {
    await cluster.wait(api.roleGrantPermission({ name: 'r', permission: permissionOf(...permission) }));
  }
  await cluster.wait(api.authEnable());
}

export function permissionOf(type: PermissionType, key: string, end?: string) {
  return end === undefined ? { type, key: utf8(key) } : { type, key: utf8(key), rangeEnd: utf8(end) };
}

export async function login(cluster: SimCluster, m: SimMember, name: string): Promise<CallOptions> {
  return { token: (await cluster.wait(m.api.authenticate({ name, password: name }))).token };
}

export function put(m: SimMember, key: string, options: CallOptions, value = '') {
  return m.api.put({ key: utf8(key), value: utf8(value) }, options);
}

export function get(m: SimMember, key: string, options: CallOptions, serializable = false) {
  return m.api.range({ key: utf8(key), serializable }, options);
}

/** A watch whose messages are kept as text: `created`, `put k@rev`, `canceled: reason`. */
export function watched(
  m: SimMember,
  key: string,
  rangeEnd: string | undefined,
  options: CallOptions,
  room: () => boolean = () => true,
): string[] {
  const seen: string[] = [];
  const sink = (response: WatchResponse): boolean => {
    if (response.type === 'events') {
      for (const { type, kv } of response.batch.events) {
        seen.push(`${type} ${utf8Text(kv.key)}@${kv.modRevision}`);
      }
    } else {
      seen.push(response.type === 'canceled' ? `canceled: ${response.reason}` : response.type);
    }
    return room();
  };
  m.api.watch({ key: utf8(key), ...(rangeEnd !== undefined && { rangeEnd: utf8(rangeEnd) }) }, sink, options);
  return seen;
}
