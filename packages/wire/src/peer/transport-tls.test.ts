import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { CertificateAuthority, type KeyPair } from '../../../../test/support/certificates.ts';
import { temporaryDirectory } from '../../../../test/support/muster.ts';
import type { TlsIdentityOptions } from '../tls/identity.ts';
import type { SnapshotMessage } from './snapshot-receiver.ts';
import { introduce, Station } from './test-support.ts';

const MESSAGE: SnapshotMessage = {
  type: 'snapshot',
  from: 1n,
  to: 2n,
  term: 3,
  snapshot: {
    index: 10,
    term: 2,
    confState: { voters: [1n, 2n], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  },
};

const POLICY: TlsIdentityOptions['policy'] = {
  requireCertificate: true,
  allowedNames: [],
  allowedHosts: [],
  cipherSuites: [],
  minVersion: 'TLSv1.2',
  maxVersion: undefined,
  certificateNames: false,
  trustAnyServer: false,
};

async function withStations(stations: readonly Station[], run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } finally {
    await Promise.all(stations.map((station) => station.close()));
  }
}

/** Resolves with the reason once a station has logged this. */
async function said(station: Station, text: string): Promise<string> {
  for (const end = performance.now() + 20_000; ; ) {
    const line = station.logged.find((one) => one.text === text);
    if (line) return String(line.fields.reason);
    assert.ok(performance.now() < end, `nobody said "${text}": ${JSON.stringify(station.logged.slice(-5))}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('the peer transport over TLS', () => {
  let ca: CertificateAuthority;
  let member: KeyPair;
  const tls = (pair: KeyPair, policy: Partial<TlsIdentityOptions['policy']> = {}, authority = ca) => ({
    name: 'peer port',
    files: { ...pair, ca: authority.cert },
    policy: { ...POLICY, ...policy },
  });

  before(() => {
    ca = new CertificateAuthority();
    member = ca.issue({ name: 'member' });
  });

  it('connects members with certificates of one authority, and carries snapshots', async () => {
    const [a, b] = [
      await Station.open(1n, { tls: tls(member) }),
      await Station.open(2n, { tls: tls(member) }),
    ];
    await withStations([a, b], async () => {
      await introduce(a, b);
      const image = new Uint8Array(3_000_000).map((_, i) => i % 251);
      a.snapshots.images.set('s', image);
      const arrived = b.event((event) => event.type === 'snapshotReceived');
      const error = await new Promise((resolve) => a.transport.sendSnapshot(2n, MESSAGE, 's', resolve));
      assert.equal(error, undefined);
      await arrived;
      assert.deepEqual(b.snapshots.images.get('s'), image);
    });
  });

  it('refuses callers without a certificate, plain ones, and those of another authority, and says why', async () => {
    const other = new CertificateAuthority('other');
    const a = await Station.open(1n, { tls: tls(member) });
    const foreign = other.issue({ name: 'foreign' });
    // Trusts us, so that it is we who refuse.
    const b = await Station.open(2n, { tls: tls(foreign, {}, ca) });
    await withStations([a, b], async () => {
      b.transport.setPeers(new Map([[1n, [a.url]]]));
      a.transport.setPeers(new Map([[2n, [b.url]]]));
      assert.equal(await said(a, 'rejected connection'), 'the certificate is signed by an unknown authority');
      assert.equal(a.logged.find(({ text }) => text === 'rejected connection')?.fields.subject, 'foreign');
      // And the member that dials says of the server's certificate what is wrong.
      assert.match(await said(a, 'no connection to peer'), /unable to (verify|get)|self.signed/);
      assert.equal(b.count('connected'), 0);
      a.logged.splice(0);
      const bare = connectTls({ port: a.port, host: '127.0.0.1', ca: readFileSync(ca.cert) });
      bare.on('error', () => {});
      await once(bare, 'close');
      const plain = connect(a.port, '127.0.0.1');
      plain.on('error', () => {});
      plain.write('GET / HTTP/1.1\r\n\r\n');
      await once(plain, 'close');
      const reasons = a.logged
        .filter(({ text }) => text === 'rejected connection')
        .map(({ fields }) => fields.reason);
      assert.ok(reasons.includes('no certificate was shown'));
      assert.ok(reasons.includes('plain HTTP on a TLS port'));
    });
  });

  it('takes only peers with an allowed name', async () => {
    const a = await Station.open(1n, { tls: tls(member, { allowedNames: ['member'] }) });
    const b = await Station.open(2n, { tls: tls(ca.issue({ name: 'stranger' })) });
    await withStations([a, b], async () => {
      b.transport.setPeers(new Map([[1n, [a.url]]]));
      a.transport.setPeers(new Map([[2n, [b.url]]]));
      assert.equal(await said(a, 'rejected connection'), 'the common name is none of member');
      await a.event((event) => event.type === 'connected');
      assert.equal(b.count('connected'), 0);
    });
  });

  it('does not dial a server whose certificate names another host', async () => {
    const a = await Station.open(1n, {
      tls: tls(ca.issue({ name: 'elsewhere', addresses: ['10.9.9.9'], hosts: [] })),
    });
    const b = await Station.open(2n, { tls: tls(member) });
    await withStations([a, b], async () => {
      b.transport.setPeers(new Map([[1n, [a.url]]]));
      assert.match(await said(b, 'no connection to peer'), /altnames/);
    });
  });

  it('connects with renewed certificates where the former ones have expired', async () => {
    const directory = temporaryDirectory('peer-renewal');
    const used = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
    const use = (pair: KeyPair) => {
      copyFileSync(pair.cert, used.cert);
      copyFileSync(pair.key, used.key);
    };
    use(ca.issue({ name: 'old', validFrom: new Date('2020-01-01'), validTo: new Date('2021-01-01') }));
    const a = await Station.open(1n, { tls: tls(member) });
    const b = await Station.open(2n, { tls: tls(used) });
    await withStations([a, b], async () => {
      a.transport.setPeers(new Map([[2n, [b.url]]]));
      b.transport.setPeers(new Map([[1n, [a.url]]]));
      assert.equal(await said(a, 'rejected connection'), 'the certificate has expired');
      assert.match(await said(a, 'no connection to peer'), /certificate has expired/);
      use(member);
      await a.event((event) => event.type === 'connected');
      await b.event((event) => event.type === 'connected');
    });
  });
});
