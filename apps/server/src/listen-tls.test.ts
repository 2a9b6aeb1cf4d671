import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { request as requestHttps } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { TlsIdentity, type TlsIdentityOptions } from '@muster/wire';
import { CertificateAuthority, type KeyPair } from '../../../test/support/certificates.ts';
import { temporaryDirectory } from '../../../test/support/muster.ts';
import { type ClientDoor, ClientPort, type GrpcDoor } from './listen.ts';

const LIMITS = { headerBytes: 8192, headersTimeoutMs: 2000, connections: 20 };
const POLICY = {
  requireCertificate: false,
  allowedNames: [],
  allowedHosts: [],
  cipherSuites: [],
  minVersion: 'TLSv1.2',
  maxVersion: undefined,
  trustAnyServer: false,
  certificateNames: true,
} as const;

/** Says what it was asked, and how. */
const echo: ClientDoor = {
  request(req, res) {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const { host } = req.headers;
      res.writeHead(200, ['Content-Type', 'application/json', 'Connection', 'close']);
      const { httpVersion, method, url } = req;
      res.end(JSON.stringify({ httpVersion, method, url, host, body: Buffer.concat(chunks).toString() }));
    });
  },
  upgrade(req, socket) {
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${req.headers.upgrade}\r\nConnection: Upgrade\r\n\r\n`,
    );
  },
};

class FakeGrpc implements GrpcDoor {
  readonly http2Options = { settings: { maxConcurrentStreams: 77 } };
  closed = 0;
  attach: GrpcDoor['attach'] = (server) => {
    server.on('stream', (stream, headers) => {
      if (!headers['content-type']?.startsWith('application/grpc')) return;
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' },
        { endStream: true },
      );
    });
  };
  async close(): Promise<void> {
    this.closed++;
  }
}

type Running = {
  readonly port: ClientPort;
  readonly number: number;
  readonly logged: Logged[];
  readonly grpc: FakeGrpc;
};
type Logged = { readonly text: string } & Readonly<Record<string, unknown>>;

async function withPort(
  tls:
    | (Pick<TlsIdentityOptions, 'files'> & { readonly policy?: Partial<TlsIdentityOptions['policy']> })
    | undefined,
  run: (running: Running) => Promise<void>,
): Promise<void> {
  const logged: Logged[] = [];
  const write = (fields: object, text: string) => void logged.push({ ...fields, text });
  const log = { info: write, warn: write };
  const grpc = new FakeGrpc();
  const port = await ClientPort.open({
    urls: [`${tls ? 'https' : 'http'}://127.0.0.1:0`],
    door: echo,
    grpc,
    tls:
      tls &&
      new TlsIdentity({ name: 'client port', files: tls.files, policy: { ...POLICY, ...tls.policy }, log }),
    limits: LIMITS,
  });
  try {
    await run({ port, number: Number(port.addresses[0]?.split(':')[1]), logged, grpc });
  } finally {
    await port.close(0);
  }
}

async function dial(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** An answer over HTTP/1.1, or why there was none. */
async function get(port: number, options: ConnectionOptions): Promise<string> {
  const req = requestHttps({ port, host: '127.0.0.1', agent: false, ...options }).end();
  try {
    const [res] = (await once(req, 'response')) as [import('node:http').IncomingMessage];
    let text = '';
    for await (const chunk of res) text += chunk;
    return `${res.statusCode} ${JSON.parse(text).httpVersion}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

async function http2Request(session: ClientHttp2Session, headers: Record<string, string>, body?: string) {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [answer] = (await once(stream, 'response')) as [Record<string, string>];
  await once(stream, 'close');
  return { answer, text };
}

describe('the client port without TLS', () => {
  it('serves gRPC to those who begin with the preface of HTTP/2, in pieces too, and HTTP to the rest', async () => {
    await withPort(undefined, async ({ number, grpc, port }) => {
      const slow = connectTcp(number, '127.0.0.1');
      const session = connectHttp2('http://127.0.0.1', { createConnection: () => slow });
      const { answer } = await http2Request(session, {
        ':method': 'POST',
        ':path': '/a.B/C',
        'content-type': 'application/grpc',
      });
      assert.equal(answer['grpc-status'], '0');
      assert.equal(session.remoteSettings.maxConcurrentStreams, 77);
      const { text } = await http2Request(session, { ':path': '/version' });
      assert.equal(JSON.parse(text).httpVersion, '2.0');
      session.close();

      const pieces = connectTcp(number, '127.0.0.1').setNoDelay(true);
      const received = once(pieces, 'data');
      for (const piece of ['P', 'RI', ' * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0']) {
        pieces.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const [settings] = (await received) as [Buffer];
      assert.equal(settings[3], 4);
      pieces.destroy();

      const put = connectTcp(number, '127.0.0.1').setNoDelay(true);
      put.write('P');
      await new Promise((resolve) => setTimeout(resolve, 20));
      put.write('UT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi');
      const [text1] = (await once(put, 'data')) as [Buffer];
      assert.match(text1.toString(), /^HTTP\/1\.1 200 OK/);
      put.destroy();
      await port.close(1000);
      assert.equal(grpc.closed, 1);
    });
  });

  it('cuts those who say nothing', async () => {
    await withPort(undefined, async ({ number, port }) => {
      const socket = connectTcp(number, '127.0.0.1');
      const ended = once(socket, 'data');
      const [text] = (await ended) as [Buffer];
      assert.match(text.toString(), /^HTTP\/1\.1 408 /);
      const idle = connectTcp(number, '127.0.0.1');
      await once(idle, 'connect');
      while (port.connections < 1) await new Promise((resolve) => setImmediate(resolve));
      const gone = once(idle, 'close');
      idle.resume();
      await port.close(60_000);
      await gone;
    });
  });

  it('listens on Unix sockets', async () => {
    const path = join(temporaryDirectory('unix'), 'socket');
    writeFileSync(path.replace('socket', 'other'), '');
    const options = { urls: [`unix://${path}`], door: echo, grpc: undefined, tls: undefined, limits: LIMITS };
    const port = await ClientPort.open(options);
    assert.deepEqual(port.addresses, [path]);
    const req = requestHttp({ socketPath: path, path: '/version' }).end();
    const [res] = (await once(req, 'response')) as [import('node:http').IncomingMessage];
    assert.equal(res.statusCode, 200);
    res.resume();
    await port.close(1000);
  });
});

describe('the client port with TLS', () => {
  let ca: CertificateAuthority;
  let other: CertificateAuthority;
  let server: KeyPair;
  let client: KeyPair;
  const shown = (pair: KeyPair) => ({
    ca: readFileSync(ca.cert),
    cert: readFileSync(pair.cert),
    key: readFileSync(pair.key),
  });
  const files = () => ({ ...server, ca: ca.cert });
  const mutual = () => ({ files: files(), policy: { requireCertificate: true } });

  before(() => {
    ca = new CertificateAuthority();
    other = new CertificateAuthority('other authority');
    server = ca.issue({ name: 'server' });
    client = ca.issue({ name: 'client', usage: 'clientAuth' });
  });

  it('speaks what ALPN agrees on, and HTTP/1.1 without', async () => {
    await withPort({ files: server }, async ({ number }) => {
      const trust = { ca: readFileSync(ca.cert) };
      assert.equal(await get(number, trust), '200 1.1');
      assert.equal(await get(number, { ...trust, ALPNProtocols: ['http/1.1'] }), '200 1.1');
      const plain = await dial(number, trust);
      assert.equal(plain.alpnProtocol, false);
      plain.destroy();
      const session = connectHttp2(`https://127.0.0.1:${number}`, trust);
      const posted = await http2Request(session, { ':method': 'POST', ':path': '/v3/kv/put' }, 'a body');
      const { body, host, httpVersion, method, url } = JSON.parse(posted.text);
      assert.deepEqual(
        { body, host, httpVersion, method, url },
        {
          body: 'a body',
          host: `127.0.0.1:${number}`,
          httpVersion: '2.0',
          method: 'POST',
          url: '/v3/kv/put',
        },
      );
      assert.equal(posted.answer.connection, undefined);
      const { answer } = await http2Request(session, {
        ':method': 'POST',
        ':path': '/a.B/C',
        'content-type': 'application/grpc+proto',
      });
      assert.equal(answer['grpc-status'], '0');
      session.close();
    });
  });

  it('takes WebSocket upgrades', async () => {
    await withPort({ files: server }, async ({ number }) => {
      const headers = { Connection: 'Upgrade', Upgrade: 'websocket' };
      const req = requestHttps({ port: number, host: '127.0.0.1', ca: readFileSync(ca.cert), headers }).end();
      const [res] = (await once(req, 'upgrade')) as [import('node:http').IncomingMessage];
      assert.equal(res.statusCode, 101);
    });
  });

  it('closes what is no TLS, or an older one, and says so', async () => {
    await withPort({ files: server }, async ({ number, logged }) => {
      const socket = connectTcp(number, '127.0.0.1');
      socket.write('GET /version HTTP/1.1\r\nHost: x\r\n\r\n');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      await once(socket, 'close');
      assert.ok(!text.includes('HTTP/1.1'));
      const old = {
        ca: readFileSync(ca.cert),
        minVersion: 'TLSv1.1',
        maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT@SECLEVEL=0',
      } as const;
      assert.match(await get(number, old), /ERR_SSL|ECONNRESET|EPROTO/);
      const new13 = await dial(number, { ca: readFileSync(ca.cert), minVersion: 'TLSv1.3' });
      assert.equal(new13.getProtocol(), 'TLSv1.3');
      new13.destroy();
      const reasons = logged.map((line) => line.reason);
      assert.deepEqual(reasons, [
        'plain HTTP on a TLS port',
        'the TLS version that was offered is not served',
      ]);
    });
  });

  it('refuses callers without a certificate, with an expired, foreign, or self-made one, and says whose', async () => {
    const expired = ca.issue({
      name: 'expired',
      validFrom: new Date('2020-01-01'),
      validTo: new Date('2021-01-01'),
    });
    const foreign = other.issue({ name: 'foreign' });
    const serverOnly = ca.issue({ name: 'server only', usage: 'serverAuth' });
    await withPort(mutual(), async ({ number, logged }) => {
      assert.equal(await get(number, shown(client)), '200 1.1');
      assert.equal(logged.length, 0);
      assert.match(await get(number, { ca: readFileSync(ca.cert) }), /ECONNRESET|EPIPE/);
      for (const pair of [expired, foreign, serverOnly])
        assert.match(await get(number, shown(pair)), /ECONNRESET|EPIPE/);
      const lines = logged.map(({ text, subject, reason }) => ({ text, subject, reason }));
      assert.deepEqual(lines, [
        { text: 'rejected connection', subject: undefined, reason: 'no certificate was shown' },
        { text: 'rejected connection', subject: 'expired', reason: 'the certificate has expired' },
        {
          text: 'rejected connection',
          subject: 'foreign',
          reason: 'the certificate is signed by an unknown authority',
        },
        {
          text: 'rejected connection',
          subject: 'server only',
          reason: 'the certificate is not meant for clients (extended key usage)',
        },
      ]);
      for (const line of logged) assert.match(String(line.remote), /^127\.0\.0\.1:\d+$/);
      assert.match(String(logged[1]?.serial), /^[0-9A-F]+$/);
      assert.equal(logged[2]?.issuer, 'other authority');
    });
  });

  it('logs few of many refusals', async () => {
    await withPort(mutual(), async ({ number, logged }) => {
      for (let i = 0; i < 30; i++) await get(number, { ca: readFileSync(ca.cert) });
      assert.equal(logged.length, 20);
    });
  });

  it('takes a bundle of authorities, lists of revoked certificates, names and host names', async () => {
    const bundle = join(ca.directory, 'bundle.pem');
    writeFileSync(bundle, Buffer.concat([readFileSync(other.cert), readFileSync(ca.cert)]));
    const foreign = other.issue({ name: 'foreign', hosts: ['node.example'] });
    const withBundle = { ...server, ca: bundle };
    const check = (
      policy: Partial<TlsIdentityOptions['policy']>,
      tlsFiles: TlsIdentityOptions['files'],
      pair: KeyPair,
    ) => {
      let answer = '';
      return withPort(
        { files: tlsFiles, policy: { requireCertificate: true, ...policy } },
        async ({ number, logged }) => {
          answer = `${await get(number, shown(pair))} ${logged[0]?.reason ?? ''}`;
        },
      ).then(() => answer.replace('EPIPE', 'ECONNRESET'));
    };
    assert.equal(await check({}, withBundle, foreign), '200 1.1 ');
    assert.equal(await check({}, withBundle, client), '200 1.1 ');
    assert.equal(await check({ allowedNames: ['client', 'x'] }, withBundle, client), '200 1.1 ');
    assert.equal(
      await check({ allowedNames: ['x'] }, withBundle, client),
      'ECONNRESET the common name is none of x',
    );
    assert.equal(await check({ allowedHosts: ['node.example'] }, withBundle, foreign), '200 1.1 ');
    assert.equal(
      await check({ allowedHosts: ['node.example'] }, withBundle, client),
      'ECONNRESET the certificate is valid for none of node.example',
    );
    // A common name is no host name, as in Go: authorities check the names beside it.
    const named = ca.issue({ name: 'node.example', hosts: [], addresses: [] });
    assert.equal(
      await check({ allowedHosts: ['node.example'] }, withBundle, named),
      'ECONNRESET the certificate is valid for none of node.example',
    );
    const lost = ca.issue({ name: 'lost laptop' });
    const crl = ca.revoke(lost.cert);
    assert.equal(await check({}, { ...files(), crl }, client), '200 1.1 ');
    assert.equal(await check({}, { ...files(), crl }, lost), 'ECONNRESET the certificate is revoked');
  });

  it('brings back no session: every connection shows its certificate anew', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      await withPort(mutual(), async ({ number }) => {
        const options = { ...shown(client), minVersion: version, maxVersion: version };
        const first = await dial(number, options);
        const sessions: Buffer[] = [];
        first.on('session', (session: Buffer) => sessions.push(session));
        first.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        await once(first, 'data');
        sessions.push(first.getSession() as Buffer);
        first.destroy();
        for (const session of sessions) {
          // Another certificate, or none, with the session of the first.
          for (const pair of [shown(client), { ca: readFileSync(ca.cert) }]) {
            const again = connect({ port: number, host: '127.0.0.1', ...options, ...pair, session });
            again.on('error', () => {});
            await Promise.race([once(again, 'secureConnect'), once(again, 'close')]);
            assert.equal(again.isSessionReused(), false, version);
            again.destroy();
          }
        }
      });
    }
  });

  it('uses renewed files from the next connection on, and keeps the former ones when they are broken', async () => {
    const directory = temporaryDirectory('renewal');
    const used = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
    const use = (pair: KeyPair) => {
      copyFileSync(pair.cert, used.cert);
      copyFileSync(pair.key, used.key);
    };
    use(server);
    await withPort({ files: used }, async ({ number, logged }) => {
      const subject = async () => {
        // Files are looked at again after a fifth of a second.
        await new Promise((resolve) => setTimeout(resolve, 210));
        const socket = await dial(number, { ca: readFileSync(ca.cert) });
        const { CN } = socket.getPeerCertificate().subject;
        socket.destroy();
        return CN;
      };
      const before = await dial(number, { ca: readFileSync(ca.cert) });
      assert.equal(await subject(), 'server');
      use(ca.issue({ name: 'renewed' }));
      assert.equal(await subject(), 'renewed');
      writeFileSync(used.cert, 'half a certif');
      assert.equal(await subject(), 'renewed');
      assert.equal(await subject(), 'renewed');
      use(ca.issue({ name: 'again' }));
      assert.equal(await subject(), 'again');
      assert.deepEqual(
        logged.map(({ text }) => text),
        [
          'renewed TLS files are in use',
          'renewed TLS files cannot be used, the former ones stay',
          'renewed TLS files are in use',
        ],
      );
      before.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      const [answer] = (await once(before, 'data')) as [Buffer];
      assert.match(answer.toString(), /^HTTP\/1\.1 200/);
      before.destroy();
    });
  });

  it('ends HTTP/2 connections politely', async () => {
    await withPort({ files: server }, async ({ number, port }) => {
      const session = connectHttp2(`https://127.0.0.1:${number}`, { ca: readFileSync(ca.cert) });
      await http2Request(session, { ':path': '/' });
      const away = once(session, 'goaway');
      await port.close(5000);
      const [code] = (await away) as [number];
      assert.equal(code, constants.NGHTTP2_NO_ERROR);
    });
  });
});
