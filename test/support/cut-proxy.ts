import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Prng } from '@muster/base';

/**
 * A TCP proxy on the loopback interface that cuts connections: each one after a random number of bytes towards the
 * client while `cutting` is on, anywhere inside a frame.
 */
export class CutProxy {
  cutting = false;
  cuts = 0;
  target: string;
  readonly #prng: Prng;
  readonly #bytesMax: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: string, prng: Prng, bytesMax: number) {
    this.target = target;
    this.#prng = prng;
    this.#bytesMax = bytesMax;
    this.#server = createServer((client) => this.#serve(client));
  }

  /** `target` is a URL; every connection lives for up to `bytesMax` bytes while cutting is on. */
  static async start(target: string, prng: Prng, bytesMax: number): Promise<CutProxy> {
    const proxy = new CutProxy(target, prng, bytesMax);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket): void {
    const { hostname, port } = new URL(this.target);
    const upstream = connect(Number(port), hostname);
    let left = this.#prng.int(1, this.#bytesMax);
    const end = () => {
      client.resetAndDestroy();
      upstream.destroy();
      this.#sockets.delete(client);
    };
    this.#sockets.add(client);
    client.on('error', end).on('close', end);
    upstream.on('error', end).on('close', end);
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      if (!this.cutting || chunk.length < left) {
        if (this.cutting) left -= chunk.length;
        if (!client.write(chunk)) {
          upstream.pause();
          client.once('drain', () => upstream.resume());
        }
        return;
      }
      this.cuts++;
      client.write(chunk.subarray(0, left), end);
      upstream.pause();
    });
  }
}
