/** Where a peer listens. */
export type PeerAddress = {
  readonly host: string;
  readonly port: number;
  /** Spoken over TLS. */
  readonly tls?: boolean;
};

/** The address in a peer URL (`http://host:port`, or `https`), or a sentence that says what is wrong with it. */
export function peerAddressOf(url: string): PeerAddress | string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return `peer URL ${JSON.stringify(url)} cannot be parsed; expected http://host:port or https://host:port`;
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    return `peer URL ${url} has scheme ${parsed.protocol.slice(0, -1)}; expected http or https`;
  }
  const tls = parsed.protocol === 'https:';
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: parsed.port === '' ? (tls ? 443 : 80) : Number(parsed.port), tls };
}
