/** `npm start` as a stranger meets it: the tour of the README, deaths and departures. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { type RunningDemo, startDemo } from '../support/demo.ts';

const root = new URL('../..', import.meta.url).pathname;
type Instance = {
  readonly id: string;
  /** Seconds. */
  readonly ttl: number;
  /** The sample services tell their process ids. */
  readonly metadata: { readonly pid: string };
};
type Listing = { readonly instances: readonly Instance[] };

describe('the main job', () => {
  let demo: RunningDemo;
  before(async () => {
    demo = await startDemo();
  });
  after(() => demo?.stop());

  const list = async (name: string, endpoint = 0): Promise<Listing> => {
    const response = await fetch(`${demo.endpoints[endpoint]}/v1/services/${name}/instances`);
    return (await response.json()) as Listing;
  };

  test('the five-minute tour of the README runs as it stands', { skip: missingTools() }, () => {
    const hasEtcdctl = debianProgram('etcdctl', 'etcd-client') !== undefined;
    const tour = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```console\n([\s\S]*?)^```/gm)]
      .map((match) => match[1])
      .join('');
    const steps = tour
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...expected] = step.trimEnd().split('\n');
        return { command, expected: expected.join('\n') };
      })
      .filter(({ command }) => hasEtcdctl || !/\betcdctl /.test(command));
    assert.ok(steps.length >= 8, `${steps.length} steps`);
    for (const { command, expected } of steps) {
      const here = command.replace(/127\.0\.0\.1:(2379|22379|32379)/g, (_, port: string) => {
        const at = ['2379', '22379', '32379'].indexOf(port);
        return new URL(demo.endpoints[at] as string).host;
      });
      const ran = spawnSync('bash', ['-c', here], { cwd: root, encoding: 'utf8', timeout: 20_000 });
      assert.equal(ran.stdout.trimEnd(), expected, `$ ${command}\n${ran.stderr}`);
    }
  });

  test('a watch over plain HTTP streams changes as they happen', async () => {
    const stop = new AbortController();
    const response = await fetch(`${demo.endpoints[0]}/v1/watch?prefix=streamed`, { signal: stop.signal });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    await fetch(`${demo.endpoints[1]}/v1/kv/streamed`, { method: 'PUT', body: 'one' });
    let text = '';
    while (!text.includes('"streamed"')) text += (await reader.read()).value;
    stop.abort();
    assert.match(text, /"one"/);
  });

  test('a service that is told to stop is gone at once', async () => {
    const { instances } = await list('orders');
    const leaving = instances.find(({ id }) => id === 'orders-2');
    process.kill(Number(leaving?.metadata.pid), 'SIGTERM');
    await until(async () => (await list('orders')).instances.length === 1, 5_000);
  });

  test('a service that is killed is gone at its ttl and a second at the latest', async (t) => {
    const [victim] = (await list('payments')).instances;
    assert.ok(victim);
    const ttlMs = victim.ttl * 1_000;
    const started = performance.now();
    process.kill(Number(victim.metadata.pid), 'SIGKILL');
    await until(async () => (await list('payments', 2)).instances.length === 0, ttlMs + 5_000);
    const took = performance.now() - started;
    t.diagnostic(`gone after ${(took / 1000).toFixed(1)} s of a ttl of ${victim.ttl} s`);
    assert.ok(took <= ttlMs + 1_000, `took ${took} ms`);
  });
});

async function until(holds: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function missingTools(): string | false {
  const missing = [
    ['curl', 'curl'],
    ['jq', 'jq'],
  ].filter(([program, pkg]) => !debianProgram(program as string, pkg as string));
  return missing.length > 0 && `missing: ${missing.map(([program]) => program).join(', ')}`;
}
