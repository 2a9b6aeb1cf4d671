import { Prng } from '@muster/base';
import { type Client, type ConnectOptions, createClient } from '../core/client.ts';
import { randomId } from '../core/random.ts';
import { browserClock } from './browser-clock.ts';
import { createBrowserTransport } from './browser-transport.ts';
import { followVisibility } from './visibility.ts';

/**
 * A client for browsers. Its socket pauses with the page and goes on where it was. The first endpoint that works is
 * preferred: list the page's own origin first.
 */
export function connect(options: ConnectOptions): Client {
  return createClient(options, {
    clock: browserClock,
    prng: new Prng(String(randomId())),
    randomId,
    transport: createBrowserTransport(),
    // A page lists the origin that served it first.
    endpointsInOrder: true,
    supervise: (connection) => followVisibility(connection, browserClock),
  });
}
