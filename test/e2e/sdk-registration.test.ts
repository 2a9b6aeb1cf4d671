/** What keeps a registration true, against real members and real processes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import {
  type Client,
  connect,
  type Registration,
  type RegistrationState,
  type ServiceView,
} from '@muster/sdk';
import { CLUSTER_KINDS, type ClusterKind, type TestCluster } from '../support/clusters.ts';

for (const kind of CLUSTER_KINDS) describe(kind.name, { skip: kind.skip }, () => suite(kind));

function suite(kind: ClusterKind): void {
  let cluster: TestCluster;
  let muster: Client;

  before(async () => {
    cluster = await kind.start(3);
    muster = connect({ endpoints: cluster.endpoints });
  });
  after(async () => {
    await muster?.close();
    await cluster?.close();
  });

  const SAMPLE = new URL('../../apps/demo/src/services/sample-service.ts', import.meta.url).pathname;

  /**
   * Resolves when the view satisfies `holds`; the milliseconds it took. `of` is a registration that `holds` looks at too:
   * its answer may come after the view has changed.
   */
  async function until(
    view: ServiceView,
    holds: (view: ServiceView) => boolean,
    of?: Registration,
  ): Promise<number> {
    const startedAt = performance.now();
    if (holds(view)) return 0;
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!holds(view)) return;
        for (const off of offs) off();
        resolve();
      };
      // What is shown may be true before it is known to be: then only the staleness changes.
      const offs = [view.on('change', look), view.on('stale', look)];
      if (of) offs.push(of.on('state', look));
    });
    return performance.now() - startedAt;
  }

  function reached(registration: Registration, wanted: RegistrationState): Promise<void> {
    return new Promise((resolve) => {
      const off = registration.on('state', ({ state }) => {
        if (state !== wanted) return;
        off();
        resolve();
      });
    });
  }

  const has = (id: string) => (view: ServiceView) => view.instances.some((instance) => instance.id === id);
  const lacks = (id: string) => (view: ServiceView) => !view.instances.some((instance) => instance.id === id);

  test('registered, changed, drained: each seen as it happens', async () => {
    await using view = await muster.services.discover('life');
    const registration = await muster.services.register({
      name: 'life',
      id: 'l1',
      port: 8080,
      address: '10.0.0.1',
    });
    await until(view, has('l1'));
    await registration.update({ weight: 5, metadata: { team: 'red' } });
    await until(view, ({ instances }) => instances[0]?.weight === 5 && instances[0].metadata.team === 'red');
    const statuses: string[] = [];
    const reasons: string[] = [];
    view.on('change', ({ changed, removed }) => {
      for (const { after } of changed) statuses.push(after.status);
      for (const { reason } of removed) reasons.push(reason);
    });
    await registration.drain();
    await until(view, lacks('l1'));
    assert.equal(registration.state, 'gone');
    assert.deepEqual([statuses, reasons], [['draining'], ['deregistered']]);
  });

  test('a registration is seen by a watcher within 100 ms at the median', async () => {
    await using view = await muster.services.discover('fast');
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const seen = until(view, has(`f${i}`));
      const registration = await muster.services.register({ name: 'fast', id: `f${i}` });
      times.push(await seen);
      await registration.close();
    }
    times.sort((a, b) => a - b);
    const median = times[10] ?? Number.POSITIVE_INFINITY;
    assert.ok(median < 100, `median ${median} ms of ${times.map((ms) => ms.toFixed(1)).join(', ')}`);
  });

  test('it comes back when its key is deleted and when its lease is revoked', async () => {
    await using view = await muster.services.discover('back');
    const registration = await muster.services.register({ name: 'back', id: 'b1', ttl: '3s' });
    await until(view, has('b1'));
    let lost = reached(registration, 'lost');
    assert.equal(await muster.kv.delete('/muster/default/services/back/b1'), true);
    await lost;
    await until(view, has('b1'));
    const { leaseId } = registration;
    lost = reached(registration, 'lost');
    const revoked = await fetch(`${cluster.endpoints[1]}/v1/leases/${leaseId}`, { method: 'DELETE' });
    assert.equal(revoked.status, 204);
    await lost;
    await until(view, ({ instances }) => instances[0]?.leaseId === registration.leaseId, registration);
    await registration.close();
  });

  test('it survives every member being killed and started again', { timeout: 60_000 }, async () => {
    await using view = await muster.services.discover('storm');
    const registration = await muster.services.register({ name: 'storm', id: 's1', ttl: '2s' });
    await until(view, has('s1'));
    const lost = reached(registration, 'lost');
    await Promise.all(cluster.members.map((member) => member.stop('SIGKILL')));
    await lost;
    // Asked for before they start: with two of three up it may register before the third one is.
    const again = reached(registration, 'registered');
    await Promise.all(cluster.members.map((member) => member.start()));
    await again;
    // An attempt that was given up may arrive after the one that counts: that too is put right.
    await until(
      view,
      ({ instances, stale }) => instances[0]?.leaseId === registration.leaseId && stale === false,
      registration,
    );
    const response = await fetch(`${cluster.endpoints[0]}/v1/services/storm/instances`);
    const { instances } = (await response.json()) as { instances: { id: string }[] };
    assert.deepEqual(
      instances.map(({ id }) => id),
      ['s1'],
    );
    await registration.close();
  });

  async function startSample(name: string, ...args: string[]) {
    const child = spawn(
      process.execPath,
      [SAMPLE, '--name', name, '--id', 'p1', '--muster', cluster.endpoints.join(','), ...args],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    for await (const line of createInterface({ input: child.stdout }))
      if (line.includes('"msg":"serving"')) break;
    child.stdout.resume();
    return child;
  }

  test('a process that is told to stop is gone at once, one that is killed by its ttl and a second', async () => {
    await using view = await muster.services.discover('proc');
    const stopped = await startSample('proc', '--ttl', '30s');
    await until(view, has('p1'));
    const gone = until(view, lacks('p1'));
    const exit = once(stopped, 'exit');
    stopped.kill('SIGTERM');
    assert.ok((await gone) < 1000);
    assert.deepEqual(await exit, [null, 'SIGTERM'], 'ends as the signal would have ended it');
    const killed = await startSample('proc', '--ttl', '2s');
    await until(view, has('p1'));
    killed.kill('SIGKILL');
    const took = await until(view, lacks('p1'));
    assert.ok(took < 3000 + 500, `took ${took} ms`);
  });

  test('a process that lingers is seen draining, and a second signal cuts it short', async () => {
    await using view = await muster.services.discover('linger');
    const child = await startSample('linger', '--ttl', '30s', '--linger', '60s');
    await until(view, has('p1'));
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await until(view, ({ instances }) => instances[0]?.status === 'draining');
    child.kill('SIGTERM');
    assert.ok((await until(view, lacks('p1'))) < 3000);
    assert.deepEqual(await exit, [null, 'SIGTERM']);
  });

  test('a process that stood still for longer than its ttl registers again when it wakes', async () => {
    await using view = await muster.services.discover('still');
    const child = await startSample('still', '--ttl', '2s');
    try {
      await until(view, has('p1'));
      child.kill('SIGSTOP');
      await until(view, lacks('p1'));
      child.kill('SIGCONT');
      assert.ok((await until(view, has('p1'))) < 3000);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('what the registry refuses as wrong is told to the caller, not tried for ever', async () => {
    await assert.rejects(muster.services.register({ name: 'bad name!' }), /serviceName|name|expected/i);
    await assert.rejects(
      muster.services.register({ name: 'x', ttl: '10ms' }),
      /ttl: expected at least 1000 ms/,
    );
  });
}
