/** A writer that remembers what was acknowledged, over etcd's JSON. */
import { deferred } from '@muster/base';
import { request } from 'undici';

type Ack = { readonly key: string; readonly value: string; readonly revision: number };

const base64 = (text: string) => Buffer.from(text).toString('base64');

export async function post(url: string, path: string, body: unknown, timeoutMs = 10_000): Promise<unknown> {
  // Not fetch: it takes several times as much of the CPU that the members need.
  const response = await request(`${url}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  const answer = await response.body.json();
  const { statusCode } = response;
  if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}: ${JSON.stringify(answer)}`);
  return answer;
}

export async function putKey(url: string, key: string, value: string, timeoutMs?: number): Promise<number> {
  const answer = (await post(url, '/v3/kv/put', { key: base64(key), value: base64(value) }, timeoutMs)) as {
    header: { revision: string };
  };
  return Number(answer.header.revision);
}

/** Every key under the prefix, read linearizably through `url`. */
export async function readAll(
  url: string,
  prefix: string,
): Promise<Map<string, { value: string; version: number }>> {
  const end = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;
  const answer = (await post(
    url,
    '/v3/kv/range',
    { key: base64(prefix), range_end: base64(end) },
    30_000,
  )) as {
    kvs?: { key: string; value: string; version: string }[];
  };
  const text = (encoded: string) => Buffer.from(encoded, 'base64').toString();
  return new Map(
    (answer.kvs ?? []).map((kv) => [text(kv.key), { value: text(kv.value), version: Number(kv.version) }]),
  );
}

/** Keeps `width` writes under way against endpoints in turn until `stop`; unique keys, so each is written once. */
export class Load {
  readonly acks: Ack[] = [];
  failures = 0;
  readonly #endpoints: () => readonly string[];
  readonly #prefix: string;
  #next = 0;
  #running = true;
  #goals: { readonly goal: number; readonly reached: () => void }[] = [];
  readonly #workers: Promise<void>[];

  constructor(options: { endpoints: () => readonly string[]; prefix: string; width: number }) {
    this.#endpoints = options.endpoints;
    this.#prefix = options.prefix;
    this.#workers = Array.from({ length: options.width }, () => this.#work());
  }

  /** Resolves once `count` more writes are acknowledged. */
  async progress(count: number, timeoutMs = 30_000): Promise<void> {
    const goal = this.acks.length + count;
    const reached = deferred<void>();
    const timer = setTimeout(
      () => reached.reject(new Error(`only ${this.acks.length} of ${goal} writes were acknowledged in time`)),
      timeoutMs,
    );
    this.#goals.push({ goal, reached: () => reached.resolve() });
    await reached.promise.finally(() => clearTimeout(timer));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#workers);
  }

  #reach(): void {
    for (const { goal, reached } of this.#goals) if (this.acks.length >= goal) reached();
    this.#goals = this.#goals.filter(({ goal }) => this.acks.length < goal);
  }

  async #work(): Promise<void> {
    while (this.#running) {
      const endpoints = this.#endpoints();
      if (endpoints.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const n = this.#next++;
      const key = `${this.#prefix}${n}`;
      try {
        const revision = await putKey(endpoints[n % endpoints.length] as string, key, `value-${n}`);
        this.acks.push({ key, value: `value-${n}`, revision });
        this.#reach();
      } catch {
        this.failures++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }
}
