import { KvError } from '@muster/contract';
import type { CallOptions, EtcdApi } from '@muster/kv';

/** Where a call's options stand when they are not its second argument. */
const OPTIONS_AT: Readonly<Record<string, number>> = {
  watch: 2,
  status: 0,
  hash: 0,
  leaseLeases: 0,
  defragment: 0,
  snapshot: 0,
};

/** A store in which `GOOD` may do everything, `READER` watch and read, and nobody else anything. */
export const GOOD = 'good.1';
export const READER = 'reader.2';

const READS = new Set(['range', 'status', 'memberList', 'leaseLeases', 'leaseTimeToLive']);

/**
 * The rules of a server with authentication on, for tests of what carries a token there: every call that is not the
 * server's own needs one. `seen` counts the calls by token.
 */
export function tokenApi(api: EtcdApi, seen = new Map<string, number>()): EtcdApi {
  const refusal = (name: string, options: CallOptions | undefined): KvError | undefined => {
    if (options?.internal) return undefined;
    const token = options?.token;
    if (token === undefined || token === '') return new KvError('USER_EMPTY');
    seen.set(token, (seen.get(token) ?? 0) + 1);
    if (token === GOOD || (token === READER && (READS.has(name) || name === 'watch'))) return undefined;
    return new KvError(token === READER ? 'PERMISSION_DENIED' : 'INVALID_AUTH_TOKEN');
  };
  return new Proxy(api, {
    get(target, property) {
      const member = Reflect.get(target, property, target) as unknown;
      if (typeof member !== 'function') return member;
      const name = String(property);
      return (...args: unknown[]): unknown => {
        if (name === 'authenticate')
          return authenticate(args[0] as { name: string; password: string }, target);
        const refused = refusal(name, args[OPTIONS_AT[name] ?? 1] as CallOptions | undefined);
        if (refused === undefined) return Reflect.apply(member, target, args);
        if (name !== 'watch') return Promise.reject(refused);
        const sink = args[1] as Parameters<EtcdApi['watch']>[1];
        const header = { clusterId: 1n, memberId: 1n, revision: 1, raftTerm: 1 };
        setImmediate(() => sink({ type: 'canceled', header, compactRevision: 0, reason: refused.message }));
        return { cancel() {}, resume() {}, requestProgress() {}, synced: true, nextRevision: 0 };
      };
    },
  });
}

async function authenticate(
  { name, password }: { name: string; password: string },
  api: EtcdApi,
): Promise<unknown> {
  if (name !== 'root' || password !== 'pw') throw new KvError('AUTH_FAILED');
  const { header } = await api.status();
  return { header, token: GOOD };
}
