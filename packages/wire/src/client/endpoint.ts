/** Where a member is reached. */
export type Endpoint = {
  /** As it was given; the identity of a connection. */
  readonly url: string;
  /** In the form that grpc-js dials. */
  readonly target: string;
  readonly secure: boolean;
};

const DEFAULT_PORT = '2379';

/**
 * `http://host:port` or a bare `host:port` is plain, `https://host:port` is TLS; `unix:path` and `unixs:path` are
 * sockets of the file system. Throws a `TypeError` that names what it cannot read.
 */
export function parseEndpoint(url: string): Endpoint {
  const unix = /^unix(s?):(?:\/\/)?(.+)$/.exec(url);
  if (unix) return { url, target: `unix:${unix[2]}`, secure: unix[1] === 's' };
  const match = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^/:?#[\]]+)(?::(\d{1,5}))?\/?$/.exec(url);
  const port = match?.[3] ?? DEFAULT_PORT;
  if (!match || Number(port) > 65_535 || Number(port) === 0) {
    throw new TypeError(
      `endpoint ${JSON.stringify(url)}: expected http://host:port, https://host:port or host:port`,
    );
  }
  return { url, target: `dns:${match[2]}:${port}`, secure: match[1] === 'https' };
}
