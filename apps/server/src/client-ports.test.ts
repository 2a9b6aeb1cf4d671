import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { describe, it } from 'node:test';
import { ClientPorts } from './client-ports.ts';
import { readCommandLine } from './command-line.ts';
import { configOf } from './config.ts';
import type { ClientDoor, GrpcDoor } from './listen.ts';

const door: ClientDoor = {
  request: (req, res) => void res.end(`answer to ${req.url}`),
  upgrade: (_, socket) => void socket.destroy(),
};
const grpc: GrpcDoor = {
  http2Options: {},
  attach: (server) =>
    void server.on('stream', (stream, headers) => {
      if (headers['content-type'] === 'application/grpc') {
        stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
      }
    }),
  close: async () => {},
};

async function withPorts(
  flags: readonly string[],
  run: (urls: readonly string[]) => Promise<void>,
): Promise<void> {
  const advertise = '--advertise-client-urls=http://127.0.0.1:1';
  const config = configOf(readCommandLine([...flags, advertise], {}));
  const ports = await ClientPorts.open({ config, door, grpc, tls: undefined });
  try {
    await run(ports.addresses.map((address) => `http://${address}`));
  } finally {
    await ports.close(0);
  }
}

async function status(url: string, path: string): Promise<number | string> {
  try {
    const response = await fetch(`${url}${path}`);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 'closed';
  }
}

/** `[:status, grpc-status]` of a request over HTTP/2. */
async function overHttp2(url: string, contentType: string): Promise<readonly [number | undefined, unknown]> {
  const session = connectHttp2(url);
  session.on('error', () => {});
  const stream = session.request({ ':method': 'POST', ':path': '/a.B/C', 'content-type': contentType });
  stream.end();
  const [headers] = (await once(stream, 'response')) as [Record<string, string | number>];
  session.destroy();
  return [headers[':status'] as number, headers['grpc-status']];
}

describe('the client ports', () => {
  it('serve everything on the client URLs', async () => {
    await withPorts(['--listen-client-urls=http://127.0.0.1:0'], async ([url = '']) => {
      assert.equal(await status(url, '/v3/x'), 200);
      assert.deepEqual(await overHttp2(url, 'application/grpc'), [200, '0']);
      assert.deepEqual(await overHttp2(url, 'application/json'), [200, undefined]);
    });
  });

  it('part gRPC from HTTP when HTTP has URLs of its own', async () => {
    const flags = ['--listen-client-urls=http://127.0.0.1:0', '--listen-client-http-urls=http://127.0.0.1:0'];
    await withPorts(flags, async ([client = '', http = '']) => {
      assert.equal(await status(client, '/v3/x'), 'closed');
      assert.deepEqual(await overHttp2(client, 'application/grpc'), [200, '0']);
      assert.deepEqual(await overHttp2(client, 'application/json'), [415, undefined]);
      assert.equal(await status(http, '/v3/x'), 200);
    });
  });

  it('answer for their health on the metrics URLs, and nothing else', async () => {
    const flags = ['--listen-client-urls=http://127.0.0.1:0', '--listen-metrics-urls=http://127.0.0.1:0'];
    await withPorts(flags, async ([, metrics = '']) => {
      for (const path of [
        '/metrics',
        '/health',
        '/health?serializable=true',
        '/livez',
        '/readyz/non_learner',
      ]) {
        assert.equal(await status(metrics, path), 200, path);
      }
      for (const path of ['/version', '/v3/kv/range', '/', '/metricsx', '/readyz/../v3']) {
        assert.equal(await status(metrics, path), 404, path);
      }
    });
  });

  it('may be shared among processes', async () => {
    await withPorts(
      ['--listen-client-urls=http://127.0.0.1:0', '--socket-reuse-port'],
      async ([url = '']) => {
        await withPorts([`--listen-client-urls=${url}`, '--socket-reuse-port'], async ([same]) => {
          assert.equal(same, url);
          assert.equal(await status(url, '/'), 200);
        });
        await assert.rejects(
          withPorts([`--listen-client-urls=${url}`], async () => {}),
          /bind: address already in use/,
        );
      },
    );
  });
});
