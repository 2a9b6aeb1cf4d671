import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, createServer } from 'node:http2';
import { connect, createServer as createTcpServer } from 'node:net';
import { describe, it } from 'node:test';
import { Opening, openHttp2 } from './http2-opening.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const frame = (type: number, flags: number, payload: Uint8Array, stream = 0) => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const SETTINGS = frame(4, 0, Buffer.alloc(0));
const ACK = frame(4, 1, Buffer.alloc(0));
const PING = frame(6, 0, Buffer.from('12345678'));
const string = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
/** POST, http, a path, and the authority, as plain text. */
const fields = (authority: Buffer) =>
  Buffer.concat([Buffer.from([0x83, 0x86, 0x44]), string('/a/b'), Buffer.from([0x41]), authority]);
/** `http://127.0.0.1:2379`, Huffman-coded by another program. */
const HUFFMAN = Buffer.from('9d29aee30c044eae05c0b86e09975f', 'hex');

function run(...chunks: readonly Buffer[]): { opening: Opening; pongs: Buffer[] } {
  const opening = new Opening();
  const pongs = chunks.flatMap((chunk) => opening.push(chunk));
  return { opening, pongs };
}

describe('the opening of an HTTP/2 connection', () => {
  const request = frame(1, 4, fields(string('http://127.0.0.1:2379')), 1);
  const mended = frame(1, 4, fields(string('http:--127.0.0.1:2379')), 1);
  const data = frame(0, 1, Buffer.from('abc'), 1);

  it('has its authority mended, the paths left alone, and the acknowledgement taken out', () => {
    const { opening } = run(PREFACE, SETTINGS, ACK, request, data);
    assert.ok(opening.over);
    assert.deepEqual(opening.bytes(), Buffer.concat([PREFACE, SETTINGS, mended, data]));
    const late = run(Buffer.concat([PREFACE, SETTINGS, request, data, ACK])).opening;
    assert.deepEqual(late.bytes(), Buffer.concat([PREFACE, SETTINGS, mended, data]));
  });

  it('may come in any pieces', () => {
    const all = Buffer.concat([PREFACE, SETTINGS, PING, ACK, request, data]);
    for (let cut = 1; cut < 40; cut++) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < all.length; at += cut) pieces.push(all.subarray(at, at + cut));
      const { opening, pongs } = run(...pieces);
      assert.ok(opening.over);
      assert.deepEqual(opening.bytes(), Buffer.concat([PREFACE, SETTINGS, mended, data]));
      assert.deepEqual(pongs, [frame(6, 1, Buffer.from('12345678'))]);
    }
  });

  it('is left alone where it is nothing to read', () => {
    const good = frame(1, 4, fields(string('127.0.0.1:2379')), 1);
    assert.deepEqual(
      run(PREFACE, SETTINGS, ACK, good).opening.bytes(),
      Buffer.concat([PREFACE, SETTINGS, good]),
    );
    const huge = Buffer.concat([PREFACE, Buffer.from([0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 1])]);
    assert.ok(run(huge).opening.over);
    assert.deepEqual(run(huge).opening.bytes(), huge);
    const broken = frame(1, 4 | 8 | 32, Buffer.from([0xff, 0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 1);
    assert.deepEqual(run(PREFACE, ACK, broken).opening.bytes(), Buffer.concat([PREFACE, broken]));
    const settings = Array<Buffer>(8000).fill(SETTINGS);
    assert.ok(run(PREFACE, ...settings).opening.over, 'it does not hold on to more and more');
  });

  it('survives random bytes', () => {
    let state = 12345;
    const random = () => {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      return state;
    };
    for (let i = 0; i < 2000; i++) {
      const payload = Buffer.from(Array.from({ length: random() % 60 }, () => random() >> 8));
      const before = Buffer.concat([PREFACE, frame(1, random() >> 8, payload, 1)]);
      assert.equal(run(before, ACK).opening.bytes().length, before.length);
    }
  });

  it('reaches Node as Node reads it, Huffman code and later requests included', async () => {
    const server = createServer();
    const seen: (string | undefined)[] = [];
    server.on('stream', (stream, headers) => {
      seen.push(headers[':authority']);
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    const tcp = createTcpServer((socket) => {
      openHttp2(socket, 1000, (ready) => {
        assert.ok(ready);
        server.emit('connection', socket);
      });
    }).listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const { port } = tcp.address() as { port: number };

    const raw = connect(port, '127.0.0.1');
    const huffman = Buffer.concat([Buffer.from([0x80 | HUFFMAN.length]), HUFFMAN]);
    // The second request names the authority by its place in the table.
    const again = frame(1, 5, Buffer.from([0x83, 0x86, 0xbf, 0xbe]), 3);
    raw.write(Buffer.concat([PREFACE, SETTINGS, ACK, frame(1, 5, fields(huffman), 1), again]));
    while (seen.length < 2) await once(raw, 'data');
    assert.deepEqual(seen, ['http:--127.0.0.1:2379', 'http:--127.0.0.1:2379']);
    raw.destroy();

    const session = connectHttp2(`http://127.0.0.1:${port}`);
    for (let i = 0; i < 2; i++) {
      const stream = session.request({ ':path': '/' });
      stream.resume();
      await once(stream, 'close');
    }
    assert.equal(seen[3], `127.0.0.1:${port}`);
    session.destroy();
    tcp.close();
  });
});
