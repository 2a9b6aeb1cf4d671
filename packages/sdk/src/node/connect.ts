import { Prng } from '@muster/base';
import { type Client, type ConnectOptions, createClient } from '../core/client.ts';
import { randomId } from '../core/random.ts';
import { nodeClock } from './node-clock.ts';
import { onShutdown } from './shutdown.ts';
import { createUndiciTransport } from './undici-transport.ts';

/** A client for Node. Returns at once: members are dialled when something is asked of them. */
export function connect(options: ConnectOptions): Client {
  return createClient(options, {
    clock: nodeClock,
    prng: new Prng(String(randomId())),
    randomId,
    transport: createUndiciTransport(),
    onShutdown,
  });
}
