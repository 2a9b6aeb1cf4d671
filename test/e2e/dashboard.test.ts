/** The page in a real browser, served by real members: what happens is seen as it happens. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { debianProgram } from '../support/debian.ts';
import { type MusterCluster, startMuster, temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const SAMPLE = join(ROOT, 'apps/demo/src/services/sample-service.ts');
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'];

const CHROMIUM = debianProgram('chromium', 'chromium');

let cluster: MusterCluster;
let browser: Browser;
let page: Page;
const sockets: string[] = [];
const faults: string[] = [];

const row = (id: string, state?: string) =>
  page.locator(`[data-instance="${id}"]${state === undefined ? '' : `[data-state="${state}"]`}`);
const line = (text: string) => page.getByRole('log').getByText(text);

async function put(path: string, body: unknown, method = 'PUT'): Promise<void> {
  const response = await fetch(`${cluster.endpoints[1]}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
}

async function startSample(id: string, ...args: string[]) {
  const flags = ['--name', 'orders', '--id', id, '--muster', cluster.endpoints.join(','), ...args];
  const child = spawn(process.execPath, [SAMPLE, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const text of createInterface({ input: child.stdout }))
    if (text.includes('"msg":"serving"')) break;
  child.stdout.resume();
  return child;
}

describe('the dashboard', { skip: CHROMIUM === undefined }, () => {
  before(async () => {
    const dist = temporaryDirectory('dashboard');
    const dashboard = join(ROOT, 'apps/dashboard');
    const vite = join(
      dirname(createRequire(join(dashboard, 'package.json')).resolve('vite/package.json')),
      'bin/vite.js',
    );
    execFileSync(process.execPath, [
      vite,
      'build',
      dashboard,
      '--outDir',
      dist,
      '--emptyOutDir',
      '--logLevel',
      'warn',
    ]);
    cluster = await startMuster(3, { flags: [`--dashboard-dir=${dist}`, '--allowed-origins=*'] });
    browser = await chromium.launch({ executablePath: CHROMIUM ?? '', args: FLAGS });
    page = await browser.newPage();
    page.on('websocket', (socket) => sockets.push(socket.url()));
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
    page.on('request', (request) => {
      const { hostname } = new URL(request.url());
      if (hostname !== '127.0.0.1') faults.push(`asks ${hostname}`);
    });
    await page.goto(`${cluster.endpoints[0]}/ui/`);
    await page.getByText('Live').waitFor();
  });
  after(async () => {
    await browser?.close();
    await cluster?.close();
  });

  test('members and the leader are there', async () => {
    const members = page.getByRole('region', { name: 'Members' }).getByRole('listitem');
    await members.nth(2).waitFor();
    assert.equal(await members.count(), 3);
    const leader = cluster.members[await cluster.leader()];
    assert.ok(leader);
    await page.locator('.members [data-leader="true"]').getByText(leader.name, { exact: true }).waitFor();
  });

  test('a registration, a draining and a death are shown as they happen', async () => {
    const child = await startSample('o1', '--ttl', '2s', '--linger', '600ms');
    await row('o1', 'up').waitFor();
    await line('registered at 127.0.0.1').waitFor();
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await row('o1', 'draining').waitFor();
    await line('draining').waitFor();
    await row('o1', 'deregistered').waitFor();
    await line('deregistered').waitFor();
    await exit;
    const killed = await startSample('o2', '--ttl', '2s');
    await row('o2', 'up').waitFor();
    killed.kill('SIGKILL');
    await row('o2', 'expired').waitFor({ timeout: 5_000 });
    await line('is gone').waitFor();
    await row('o2').waitFor({ state: 'detached', timeout: 8_000 });
  });

  test('a registration is on the page within 100 ms at the median', async () => {
    const times: number[] = [];
    for (let i = 0; i < 11; i++) {
      const shown = page.evaluate(
        (id) =>
          new Promise<number>((resolve) => {
            const look = () => {
              if (!document.querySelector(`[data-instance="${id}"]`)) return;
              observer.disconnect();
              resolve(performance.timeOrigin + performance.now());
            };
            const observer = new MutationObserver(look);
            observer.observe(document.body, { subtree: true, childList: true, attributes: true });
            look();
          }),
        `quick-${i}`,
      );
      const startedAt = performance.timeOrigin + performance.now();
      await put(`/v1/services/quick/instances/quick-${i}`, {
        ttl: '300s',
        address: '10.0.0.1',
        port: 80 + i,
      });
      times.push((await shown) - startedAt);
    }
    times.sort((a, b) => a - b);
    assert.ok((times[5] ?? 1e9) < 100, `milliseconds: ${times.map((ms) => ms.toFixed(1)).join(', ')}`);
  });

  test('keys written and deleted are in the feed, and the revision moves with them', async () => {
    const before = Number(await page.locator('.revision output').textContent());
    await fetch(`${cluster.endpoints[0]}/v1/kv/hello`, { method: 'PUT', body: 'world' });
    await line('= world').waitFor();
    await fetch(`${cluster.endpoints[0]}/v1/kv/hello`, { method: 'DELETE' });
    await line('deleted').waitFor();
    assert.ok(Number(await page.locator('.revision output').textContent()) >= before + 2);
  });

  test('the page is used by keyboard alone', async () => {
    await page.keyboard.press('/');
    await page.keyboard.type('no such');
    await page.getByText('Nothing matches the filter.').waitFor();
    await page.keyboard.press('Escape');
    await row('quick-0').waitFor();
    const hold = page.getByRole('button', { name: 'Hold' });
    await hold.focus();
    await page.keyboard.press('Enter');
    await fetch(`${cluster.endpoints[0]}/v1/kv/held`, { method: 'PUT', body: 'waiting' });
    await page.getByText('held, 1 waiting').waitFor();
    assert.equal(await line('= waiting').count(), 0);
    await page.keyboard.press('Enter');
    await line('= waiting').waitFor();
  });

  test('everything came over one socket, and nothing went wrong', () => {
    assert.deepEqual(
      sockets.map((url) => new URL(url).pathname),
      ['/v1/watch'],
    );
    assert.deepEqual(faults, []);
  });

  test('the page outlives the member that served it', async () => {
    const [first] = cluster.members;
    await first?.stop('SIGKILL');
    const [second] = (await freePorts(1)).map(String);
    await put(`/v1/services/after/instances/a${second}`, { ttl: '300s' });
    await row(`a${second}`, 'up').waitFor({ timeout: 10_000 });
    await page.locator('.members [data-health="down"]').waitFor({ timeout: 10_000 });
    await first?.start();
    await page.locator('.members [data-health="down"]').waitFor({ state: 'detached', timeout: 15_000 });
  });

  test('nothing is cut off on a phone, in either colour', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const phone = await browser.newPage({ viewport: { width: 360, height: 740 }, colorScheme });
      await phone.goto(`${cluster.endpoints[1]}/ui/`);
      await phone.locator('[data-instance="quick-0"]').waitFor();
      const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${overflow} px too wide`);
      await phone.close();
    }
  });

  test('where users count the page asks who is there, and then shows the same', async () => {
    const origin = cluster.endpoints[1] as string;
    const auth = async (path: string, body: object) => {
      const response = await fetch(`${origin}/v3/auth/${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      assert.ok(response.ok, `${path}: ${await response.text()}`);
    };
    await auth('user/add', { name: 'root', password: 'pw' });
    await auth('role/add', { name: 'root' });
    await auth('user/grant', { user: 'root', role: 'root' });
    await auth('enable', {});
    const fresh = await browser.newPage();
    await fresh.goto(`${origin}/ui/`);
    await fresh.getByLabel('User').fill('root');
    await fresh.getByLabel('Password').fill('wrong');
    await fresh.getByRole('button', { name: 'Log in' }).click();
    await fresh.getByRole('alert').getByText('authentication failed').waitFor();
    await fresh.getByLabel('Password').fill('pw');
    await fresh.getByRole('button', { name: 'Log in' }).click();
    await fresh.getByText('Live').waitFor();
    const members = fresh.getByRole('region', { name: 'Members' }).getByRole('listitem');
    await members.nth(2).waitFor();
    await fresh.close();
  });
});
