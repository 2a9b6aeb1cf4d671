import { backoffDelayMs, type Clock, type Prng } from '@muster/base';
import { MusterError } from './errors.ts';
import { ENDPOINT_COOLDOWN } from './limits.ts';

type Endpoint = { readonly url: string; failures: number; coolUntilMs: number };

/**
 * Which member to talk to. The last good one is preferred; one that failed is passed over for a while, unless all
 * have failed: then the one whose pause ends first is tried, because waiting would help nobody.
 */
export class Endpoints {
  readonly #endpoints: Endpoint[];
  readonly #clock: Clock;
  readonly #prng: Prng;
  #preferred: Endpoint;

  /** @param inOrder prefer them as they are listed, instead of spreading clients over all of them */
  constructor(urls: readonly string[], clock: Clock, prng: Prng, inOrder = false) {
    if (urls.length === 0) throw new MusterError('BAD_REQUEST', 'endpoints: expected at least one URL');
    const unique = [...new Set(urls.map(endpointUrl))];
    const endpoints = unique.map((url) => ({ url, failures: 0, coolUntilMs: 0 }));
    this.#endpoints = inOrder ? endpoints : prng.shuffle(endpoints);
    this.#clock = clock;
    this.#prng = prng;
    this.#preferred = this.#endpoints[0] as Endpoint;
  }

  get urls(): readonly string[] {
    return this.#endpoints.map((e) => e.url);
  }

  /** The endpoint to use next, avoiding those in `tried` while there are others. */
  pick(tried: ReadonlySet<string> = new Set()): string {
    const now = this.#clock.nowMs();
    const fresh = this.#endpoints.filter((e) => !tried.has(e.url));
    const pool = fresh.length > 0 ? fresh : this.#endpoints;
    const warm = pool.filter((e) => e.coolUntilMs <= now);
    if (warm.length > 0)
      return (warm.includes(this.#preferred) ? this.#preferred : this.#prng.pick(warm)).url;
    return pool.reduce((a, b) => (b.coolUntilMs < a.coolUntilMs ? b : a)).url;
  }

  succeeded(url: string): void {
    const endpoint = this.#find(url);
    if (!endpoint) return;
    endpoint.failures = 0;
    endpoint.coolUntilMs = 0;
    this.#preferred = endpoint;
  }

  failed(url: string): void {
    const endpoint = this.#find(url);
    if (!endpoint) return;
    const delay = backoffDelayMs(ENDPOINT_COOLDOWN, endpoint.failures++, this.#prng);
    endpoint.coolUntilMs = this.#clock.nowMs() + delay;
  }

  #find(url: string): Endpoint | undefined {
    return this.#endpoints.find((e) => e.url === url);
  }
}

/** `host:port` is taken as `http://host:port`; the result has no trailing slash. */
function endpointUrl(text: string): string {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new MusterError('BAD_REQUEST', `endpoints: expected http://host:port or host:port, got ${text}`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}
