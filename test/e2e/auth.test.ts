/** Users, tokens and rights on real members: simple tokens on three, signed ones on two, and guessing on one. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { type MusterCluster, startMuster, temporaryDirectory } from '../support/muster.ts';

const b64 = (text: string): string => Buffer.from(text).toString('base64');

type Answer = { readonly status: number; readonly body: Record<string, unknown> };

/** One call of the JSON gateway. */
async function call(endpoint: string, path: string, body: object, token?: string): Promise<Answer> {
  const response = await fetch(`${endpoint}/v3/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: token === undefined ? {} : { authorization: token },
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

async function mustCall(endpoint: string, path: string, body: object, token?: string): Promise<Answer> {
  const answer = await call(endpoint, path, body, token);
  assert.equal(answer.status, 200, `${path}: ${JSON.stringify(answer.body)}`);
  return answer;
}

async function login(endpoint: string, name: string): Promise<string> {
  const answer = await mustCall(endpoint, 'auth/authenticate', { name, password: `password of ${name}` });
  return answer.body.token as string;
}

/** Root, and ann who may do everything under `a/`; authentication is on. */
async function withUsers(endpoint: string): Promise<void> {
  for (const name of ['root', 'ann'])
    await mustCall(endpoint, 'auth/user/add', { name, password: `password of ${name}` });
  await mustCall(endpoint, 'auth/role/add', { name: 'r' });
  await mustCall(endpoint, 'auth/role/grant', { name: 'r', perm: UNDER_A });
  await mustCall(endpoint, 'auth/user/grant', { user: 'ann', role: 'r' });
  await mustCall(endpoint, 'auth/user/grant', { user: 'root', role: 'root' });
  await mustCall(endpoint, 'auth/enable', {});
}

const UNDER_A = { permType: 'READWRITE', key: b64('a/'), range_end: b64('a0') };

const put = (endpoint: string, key: string, token?: string) =>
  call(endpoint, 'kv/put', { key: b64(key), value: b64('v') }, token);

describe('three members', () => {
  let cluster: MusterCluster;
  before(async () => {
    cluster = await startMuster(3, { flags: ['--bcrypt-cost=8'] });
    await withUsers(cluster.endpoints[0] as string);
  });
  after(() => cluster?.close());

  test('take a token from whichever of them, and after a restart only new ones', async () => {
    const [first, second] = cluster.endpoints as [string, string];
    const member = cluster.members[1];
    for (const issuer of cluster.endpoints) {
      const token = await login(issuer, 'ann');
      for (const endpoint of cluster.endpoints) {
        assert.equal((await put(endpoint, 'a/1', token)).status, 200);
        assert.equal((await put(endpoint, 'b', token)).status, 403);
      }
    }
    const old = await login(first, 'ann');
    await member?.stop();
    await member?.start();
    assert.equal((await put(second, 'a/1', old)).status, 401);
    assert.equal((await put(first, 'a/1', old)).status, 200);
    assert.equal((await put(second, 'a/1')).status, 400);
    assert.equal((await put(second, 'a/1', await login(second, 'ann'))).status, 200);
  });

  test('a stream of /v1 ends with its right and shows nothing of what comes after', async () => {
    const [first, second] = cluster.endpoints as [string, string];
    const ann = await login(second, 'ann');
    const root = await login(first, 'root');
    const lines = await watchLines(`${second}/v1/watch?prefix=a/`, ann);
    assert.equal((await lines.next()).t, 'subd');
    await put(first, 'a/seen', root);
    assert.match(JSON.stringify(await lines.next()), /a\/seen/);
    await mustCall(
      first,
      'auth/role/revoke',
      { role: 'r', key: UNDER_A.key, range_end: UNDER_A.range_end },
      root,
    );
    await put(first, 'a/secret', root);
    await mustCall(first, 'auth/role/grant', { name: 'r', perm: UNDER_A }, root);
    const end = await lines.next();
    assert.equal(end.t, 'end', JSON.stringify(end));
    assert.deepEqual(
      { ...(end.problem as { code: string; status: number; retryable: boolean }) },
      { ...(end.problem as object), code: 'PERMISSION_DENIED', status: 403, retryable: false },
    );
  });

  test('/v1 answers 401 and 403 as problems, with a challenge', async () => {
    const endpoint = cluster.endpoints[2] as string;
    const get = (path: string, token?: string) =>
      fetch(
        `${endpoint}/v1/${path}`,
        token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } },
      );
    const ann = await login(endpoint, 'ann');
    for (const path of ['kv/a%2F1', 'kv?prefix=a/', 'services', 'watch?prefix=a/', 'members']) {
      for (const token of [undefined, 'nonsense']) {
        const answer = await get(path, token);
        assert.equal(answer.status, 401, `${path} ${token}`);
        assert.equal(answer.headers.get('content-type'), 'application/problem+json');
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer/);
      }
    }
    assert.equal((await get('kv/a%2F1', ann)).status, 200);
    for (const path of ['kv/b', 'kv?prefix=b', 'services'])
      assert.equal((await get(path, ann)).status, 403, path);
    for (const path of ['/health', '/livez', '/readyz', '/metrics', '/version'])
      assert.equal((await fetch(`${endpoint}${path}`)).status, 200, path);
  });

  test('guessing is slow, stops nobody else, and leaves no password in any log', async () => {
    const [first] = cluster.endpoints as [string];
    const ann = await login(first, 'ann');
    const guesses = Array.from({ length: 300 }, (_, i) =>
      call(first, 'auth/authenticate', { name: i % 2 === 0 ? 'ann' : `nobody ${i}`, password: `guess ${i}` }),
    );
    const began = performance.now();
    for (let i = 0; i < 20; i++) assert.equal((await put(first, 'a/1', ann)).status, 200);
    const putsMs = performance.now() - began;
    assert.ok(putsMs < 5000, `20 writes took ${putsMs} ms`);
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    assert.ok(!statuses.includes(200));
    const refusedUnseen = (await Promise.all(guesses)).filter(({ body }) =>
      JSON.stringify(body).includes('too many requests'),
    );
    assert.ok(refusedUnseen.length > 100, `${refusedUnseen.length} of 300 were refused without a look`);
    for (const member of cluster.members) assert.ok(!/guess \d|password of|nobody \d/.test(member.log()));
  });

  test('keep users and rights through a restart of all', async () => {
    const [first] = cluster.endpoints as [string];
    await Promise.all(cluster.members.map((member) => member.stop('SIGKILL')));
    await Promise.all(cluster.members.map((member) => member.start()));
    assert.equal((await put(first, 'a/1')).status, 400);
    const ann = await login(first, 'ann');
    assert.equal((await put(first, 'a/1', ann)).status, 200);
    assert.equal((await put(first, 'b', ann)).status, 403);
  });
});

test('signed tokens are good on members that have the public key alone, until users or rights change', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const dir = temporaryDirectory('jwt');
  const [pub, priv] = [join(dir, 'pub.pem'), join(dir, 'priv.pem')];
  writeFileSync(pub, publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(priv, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const flag = `--auth-token=jwt,pub-key=${pub},priv-key=${priv},sign-method=ES256,ttl=1h`;
  const cluster = await startMuster(2, { flags: [flag, '--bcrypt-cost=4'] });
  try {
    const [first, second] = cluster.endpoints as [string, string];
    await withUsers(first);
    const ann = await login(first, 'ann');
    assert.equal(ann.split('.').length, 3);
    await cluster.members[1]?.stop();
    await cluster.members[1]?.start();
    assert.equal((await put(second, 'a/1', ann)).status, 200);
    assert.equal((await put(second, 'b', ann)).status, 403);
    assert.equal((await put(second, 'a/1', `${ann}x`)).status, 401);
    const root = await login(second, 'root');
    await mustCall(first, 'auth/role/add', { name: 'other' }, root);
    const late = await put(second, 'a/1', ann);
    assert.match(JSON.stringify(late.body), /revision of auth store is old/);
    assert.equal((await put(second, 'a/1', await login(second, 'ann'))).status, 200);
  } finally {
    await cluster.close();
  }
});

async function watchLines(
  url: string,
  token: string,
): Promise<{ next: () => Promise<Record<string, unknown>> }> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(response.status, 200);
  const lines = createInterface({
    input: Readable.fromWeb(response.body as import('node:stream/web').ReadableStream),
  })[Symbol.asyncIterator]();
  return {
    next: async () => {
      for (;;) {
        const { value, done } = await lines.next();
        assert.ok(!done, 'the stream ended');
        const frame = value === '' ? {} : (JSON.parse(value) as Record<string, unknown>);
        if (frame.t !== undefined && frame.t !== 'hb' && frame.t !== 'prog') return frame;
      }
    },
  };
}
