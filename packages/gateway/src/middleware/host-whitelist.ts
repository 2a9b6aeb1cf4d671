/** etcd's `--host-whitelist`: a guard against DNS rebinding for servers without TLS. */
export type HostCheck = (host: string | undefined, isSecure: boolean) => string | undefined;

/**
 * Returns the refusal for a `Host` header, or `undefined` where it is welcome. `*` or an empty list allow all, and over
 * TLS the certificate says whose server it is.
 */
export function hostWhitelist(hosts: readonly string[]): HostCheck {
  if (hosts.length === 0 || hosts.includes('*')) return () => undefined;
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return (host, isSecure) => {
    if (isSecure) return undefined;
    const name = withoutPort(host ?? '');
    return allowed.has(name.toLowerCase()) ? undefined : refusal(host ?? '');
  };
}

/** `[::1]:80` is the host `::1`. */
function withoutPort(host: string): string {
  if (host.startsWith('[')) return host.slice(1, host.indexOf(']'));
  const colon = host.indexOf(':');
  return colon < 0 ? host : host.slice(0, colon);
}

function refusal(host: string): string {
  return (
    `the host ${JSON.stringify(host.slice(0, 255))} of this request is not one that the server answers to ` +
    '(see --host-whitelist)\n'
  );
}
