import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { bindAddress } from './bind.ts';
import { StartRefused } from './command-line.ts';
import { type ClientDoor, ClientPort } from './listen.ts';

const LIMITS = { headerBytes: 2048, headersTimeoutMs: 200, connections: 3 };

const REST = { grpc: undefined, tls: undefined, limits: LIMITS };

const hello: ClientDoor = {
  request: (_, res) => void res.end('hello'),
  upgrade: (_, socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
};

async function withPort(
  run: (port: ClientPort, number: number) => Promise<void>,
  door: ClientDoor = hello,
): Promise<void> {
  const port = await ClientPort.open({
    urls: ['http://127.0.0.1:0', 'http://localhost:0'],
    door,
    ...REST,
  });
  try {
    await run(port, Number(port.addresses[0]?.split(':')[1]));
  } finally {
    await port.close(0);
  }
}

async function dial(number: number): Promise<Socket> {
  const socket = connect(number, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function answer(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  await once(socket, 'close');
  return text;
}

describe('the client port', () => {
  it('closes a connection whose client stops in the middle of its first words', async () => {
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
    const settings = '\0\0\0\x04\0\0\0\0\0';
    await withPort(async (port, number) => {
      for (const words of ['', 'PR', 'PRI *', preface, preface + settings, `${preface}\0\0\x09`]) {
        const socket = await dial(number);
        socket.end(words, 'latin1');
        await answer(socket);
      }
      // A deadline of theirs would come by now.
      await new Promise((resolve) => setTimeout(resolve, 2 * LIMITS.headersTimeoutMs));
      assert.equal(port.connections, 0);
      const response = await fetch(`http://${port.addresses[0]}/`);
      assert.equal(await response.text(), 'hello');
      assert.equal(port.connections, 1);
    });
  });

  it('serves every URL', async () => {
    await withPort(async (port) => {
      assert.equal(port.addresses.length, 2);
      for (const address of port.addresses) {
        const response = await fetch(`http://${address}/`);
        assert.equal(await response.text(), 'hello');
      }
    });
  });

  it("says in etcd's words that a port is in use, and leaves none bound", async () => {
    await withPort(async (_, number) => {
      const free = await ClientPort.open({ urls: ['http://127.0.0.1:0'], door: hello, ...REST });
      const url = `http://${free.addresses[0]}`;
      await free.close(0);
      const urls = [url, `http://127.0.0.1:${number}`];
      await assert.rejects(ClientPort.open({ urls, door: hello, ...REST }), (error) => {
        assert.ok(error instanceof StartRefused);
        assert.equal(error.message, `listen tcp 127.0.0.1:${number}: bind: address already in use`);
        return true;
      });
      const again = await ClientPort.open({ urls: [url], door: hello, ...REST });
      await again.close(0);
    });
  });

  it('takes no more connections than it may', async () => {
    await withPort(async (port, number) => {
      const sockets = [await dial(number), await dial(number), await dial(number)];
      const refused = await dial(number);
      assert.equal(await answer(refused), '');
      assert.equal(port.connections, 3);
      const gone = answer(sockets[0] as Socket);
      sockets[0]?.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      assert.match(await gone, /hello/);
      const next = await dial(number);
      next.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      assert.match(await answer(next), /hello/);
    });
  });

  it('refuses headers that are too long, malformed or too slow', async () => {
    await withPort(async (_, number) => {
      const long = await dial(number);
      long.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(4000)}\r\n\r\n`);
      assert.match(await answer(long), /^HTTP\/1.1 431 /);
      const malformed = await dial(number);
      malformed.write('NOT HTTP\r\n\r\n');
      assert.match(await answer(malformed), /^HTTP\/1.1 400 /);
      const slow = await dial(number);
      slow.write('GET / HTTP/1.1\r\n');
      assert.match(await answer(slow), /^HTTP\/1.1 408 /);
    });
  });

  it('answers what runs before it closes, and takes nothing new', async () => {
    let finish = (): void => {};
    const door: ClientDoor = {
      ...hello,
      request: (_, res) => {
        finish = () => void res.end('late');
      },
    };
    await withPort(async (port, number) => {
      const idle = await dial(number);
      const running = request({ port: number, host: '127.0.0.1' }).end();
      while (port.connections < 2) await new Promise((resolve) => setImmediate(resolve));
      const response = once(running, 'response');
      await new Promise((resolve) => setTimeout(resolve, 20));
      const closed = port.close(5000);
      const late = connect(number, '127.0.0.1');
      const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
      finish();
      const [incoming] = (await response) as [import('node:http').IncomingMessage];
      incoming.resume();
      idle.destroy();
      await closed;
      while (port.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    }, door);
  });

  it('cuts what does not end in time', async () => {
    const door: ClientDoor = { ...hello, request: () => {} };
    await withPort(async (port, number) => {
      const socket = await dial(number);
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      const gone = answer(socket);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await port.close(50);
      assert.equal(await gone, '');
    }, door);
  });

  it('binds localhost as the IPv4 loopback', () => {
    assert.deepEqual(bindAddress('http://localhost:2379'), { host: '127.0.0.1', port: 2379 });
    assert.deepEqual(bindAddress('http://[::1]:2379'), { host: '::1', port: 2379 });
    assert.deepEqual(bindAddress('http://0.0.0.0:1'), { host: '0.0.0.0', port: 1 });
  });
});
