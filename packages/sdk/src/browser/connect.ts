import { Prng } from '@muster/base';
import { type Client, type ConnectOptions, createClient } from '../core/client.ts';
import { randomId } from '../core/random.ts';
import { browserClock } from './browser-clock.ts';
import { createBrowserTransport } from './browser-transport.ts';
import { followVisibility } from './visibility.ts';

/** A client for browsers. Its socket pauses with the page and goes on where it was. */
export function connect(options: ConnectOptions): Client {
  return createClient(options, {
    clock: browserClock,
    prng: new Prng(String(randomId())),
    randomId,
    transport: createBrowserTransport(),
    supervise: (connection) => followVisibility(connection, browserClock),
  });
}
