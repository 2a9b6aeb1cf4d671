/** Debian's Python clients, unchanged, on the real etcd and on Muster, plain and over TLS. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Child } from '../support/child.ts';
import { debianFile } from '../support/debian.ts';
import { canRun, KINDS, startServers } from './servers.ts';

/** Debian's own interpreter: another one on the path would not find Debian's modules. */
const PYTHON = '/usr/bin/python3';
const CLIENTS = [
  { module: 'etcd3', pkg: 'python3-etcd3', script: 'etcd3_client.py' },
  { module: 'etcd3gw', pkg: 'python3-etcd3gw', script: 'etcd3gw_client.py' },
];

for (const { module, pkg, script } of CLIENTS) {
  const present = debianFile(`/usr/lib/python3/dist-packages/${module}`, pkg) !== undefined;
  for (const kind of KINDS) {
    for (const tls of [false, true]) {
      const skip = !present || !canRun(kind);
      describe(`${pkg} on ${kind}, ${tls ? 'TLS' : 'plain'}`, { skip, timeout: 60_000 }, () => {
        test('does what its users do', async () => {
          const servers = await startServers(kind, { tls });
          try {
            const [host, port] = (servers.addresses[0] as string).split(':') as [string, string];
            const paths = servers.files;
            const files = paths ? [paths.ca, paths.client.cert, paths.client.key] : [];
            const path = new URL(`python/${script}`, import.meta.url).pathname;
            // requests would take another bundle that the environment names for ours. The stubs of python3-etcd3 are older than Debian's protobuf takes in C.
            const env = {
              PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION: 'python',
              REQUESTS_CA_BUNDLE: paths?.ca ?? '',
              CURL_CA_BUNDLE: '',
            };
            const client = new Child(PYTHON, [path, host, port, ...files], { env });
            assert.equal(await client.exited, 'exit code 0', client.output);
            assert.match(client.output, /ok/);
          } finally {
            await servers.stop();
          }
        });
      });
    }
  }
}
