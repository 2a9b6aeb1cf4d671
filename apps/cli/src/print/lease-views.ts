import type { LeaseGrantResult, LeaseTimeToLiveResult, WithHeader } from '@muster/kv';
import { goQuote, omitEmpty } from './go-text.ts';
import { headerFields, headerJson, headerMembers } from './header.ts';
import type { View } from './printer.ts';

/** 16 hexadecimal digits. */
export function leaseText(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, '0');
}

export function grantView(result: WithHeader<LeaseGrantResult>): View {
  const { header, id, ttlSeconds } = result;
  return {
    simple: () => [`lease ${leaseText(id)} granted with TTL(${ttlSeconds}s)\n`],
    fields: () => [`${headerFields(header)}"ID" : ${id}\n"TTL" : ${ttlSeconds}\n`],
    json: () => ({ ...headerMembers(header), ID: id, TTL: ttlSeconds, Error: '' }),
    message: () => ({
      name: 'LeaseGrantResponse',
      fields: omitEmpty({ header: headerJson(header), ID: id, TTL: ttlSeconds }),
    }),
  };
}

export function revokeView(id: bigint, result: WithHeader<unknown>): View {
  return {
    simple: () => [`lease ${leaseText(id)} revoked\n`],
    fields: () => [headerFields(result.header)],
    message: () => ({
      name: 'LeaseRevokeResponse',
      fields: omitEmpty({ header: headerJson(result.header) }),
    }),
  };
}

export function keepAliveView(
  result: WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>,
): View {
  const { header, id, ttlSeconds } = result;
  return {
    simple: () => [`lease ${leaseText(id)} keepalived with TTL(${ttlSeconds})\n`],
    fields: () => [`${headerFields(header)}"ID" : ${id}\n"TTL" : ${ttlSeconds}\n`],
    json: () => ({ ...headerMembers(header), ID: id, TTL: ttlSeconds }),
    message: () => ({
      name: 'LeaseKeepAliveResponse',
      fields: omitEmpty({ header: headerJson(header), ID: id, TTL: ttlSeconds }),
    }),
  };
}

export function timeToLiveView(result: WithHeader<LeaseTimeToLiveResult>, withKeys: boolean): View {
  const { header, id, ttlSeconds, grantedTtlSeconds, keys } = result;
  return {
    simple() {
      if (grantedTtlSeconds === 0 && ttlSeconds === -1) return [`lease ${leaseText(id)} already expired\n`];
      const text = `lease ${leaseText(id)} granted with TTL(${grantedTtlSeconds}s), remaining(${ttlSeconds}s)`;
      if (!withKeys) return [`${text}\n`];
      const list = keys.flatMap((key, i) => (i === 0 ? [key] : [' ', key]));
      return [`${text}, attached keys([`, ...list, '])\n'];
    },
    fields: () => [
      headerFields(header),
      `"ID" : ${id}\n"TTL" : ${ttlSeconds}\n"GrantedTTL" : ${grantedTtlSeconds}\n`,
      ...keys.map((key) => `"Key" : ${goQuote(key)}\n`),
    ],
    json: () => ({
      ...headerMembers(header),
      id,
      ttl: ttlSeconds,
      'granted-ttl': grantedTtlSeconds,
      keys: keys.length === 0 ? null : keys,
    }),
    message: () => ({
      name: 'LeaseTimeToLiveResponse',
      fields: omitEmpty({
        header: headerJson(header),
        ID: id,
        TTL: ttlSeconds,
        grantedTTL: grantedTtlSeconds,
        keys,
      }),
    }),
  };
}

export function leasesView(result: WithHeader<{ readonly leases: readonly bigint[] }>): View {
  const { header, leases } = result;
  return {
    simple: () => [`found ${leases.length} leases\n`, ...leases.map((id) => `${leaseText(id)}\n`)],
    fields: () => [headerFields(header), ...leases.map((id) => `"ID" : ${id}\n`)],
    json: () => ({ ...headerMembers(header), leases: leases.map((id) => ({ id })) }),
    message: () => ({
      name: 'LeaseLeasesResponse',
      fields: omitEmpty({ header: headerJson(header), leases: leases.map((ID) => ({ ID })) }),
    }),
  };
}
