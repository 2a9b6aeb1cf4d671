import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { CertificateAuthority, type KeyPair } from '../../../../test/support/certificates.ts';
import { temporaryDirectory } from '../../../../test/support/muster.ts';
import { guardTls } from './guard.ts';
import { TlsIdentity } from './identity.ts';

/** Longer than the identity waits between two looks at its files. */
const NEXT_LOOK_MS = 250;

test('every server of an identity shows the renewed certificate, whoever saw first that it is new', async () => {
  const ca = new CertificateAuthority();
  const directory = temporaryDirectory('guard');
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  const use = (pair: KeyPair) => {
    copyFileSync(pair.cert, files.cert);
    copyFileSync(pair.key, files.key);
  };
  use(ca.issue({ name: 'old' }));
  const identity = new TlsIdentity({
    name: 'test',
    files: { ...files, ca: ca.cert },
    policy: {
      requireCertificate: false,
      certificateNames: false,
      allowedNames: [],
      allowedHosts: [],
      cipherSuites: [],
      minVersion: 'TLSv1.2',
      maxVersion: undefined,
      trustAnyServer: false,
    },
    log: { info: () => {}, warn: () => {} },
  });
  const servers = await Promise.all(
    [1, 2].map(async () => {
      const server = createServer(identity.serverOptions);
      guardTls(server, identity, (socket) => socket.end());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const shown = (server: (typeof servers)[number]) =>
    shownName((server.address() as AddressInfo).port, ca.cert);
  assert.deepEqual(await Promise.all(servers.map(shown)), ['old', 'old']);
  use(ca.issue({ name: 'renewed' }));
  await new Promise((resolve) => setTimeout(resolve, NEXT_LOOK_MS));
  // Dialling sees it first.
  assert.ok(identity.clientOptions.secureContext);
  assert.deepEqual(await Promise.all(servers.map(shown)), ['renewed', 'renewed']);
  for (const server of servers) server.close();
});

async function shownName(port: number, ca: string): Promise<string | string[] | undefined> {
  const socket = connect({ port, host: '127.0.0.1', ca: readFileSync(ca) });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}
