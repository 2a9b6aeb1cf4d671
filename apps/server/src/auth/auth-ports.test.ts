import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { decodeJwt, SignJWT } from 'jose';
import { StartRefused } from '../start-refused.ts';
import { bcryptHasher, openAuthPorts } from './auth-ports.ts';
import { tokenOptions } from './token-options.ts';

const directory = mkdtempSync(join(tmpdir(), 'muster-auth-'));
after(() => rmSync(directory, { recursive: true }));

const PAIRS: Readonly<Record<string, { readonly publicKey: KeyObject; readonly privateKey: KeyObject }>> = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS384: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: generateKeyPairSync('ed25519'),
};

function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function keyFiles(method: string): { readonly pub: string; readonly priv: string } {
  const pair = PAIRS[method] as (typeof PAIRS)[string];
  return {
    pub: file(`${method}.pub`, pair.publicKey.export({ type: 'spki', format: 'pem' })),
    priv: file(`${method}.key`, pair.privateKey.export({ type: 'pkcs8', format: 'pem' })),
  };
}

const open = async (token: string) => {
  const { signedTokens } = await openAuthPorts({ token, tokenTtlSeconds: 300, bcryptCost: 4 }, () => {});
  assert.ok(signedTokens);
  return signedTokens;
};

describe('passwords', () => {
  test("are bcrypt's text of the asked cost, which Go's reads too", async () => {
    const { hash, verify } = bcryptHasher(5);
    const hashed = await hash('secret');
    assert.match(hashed, /^\$2a\$05\$[./A-Za-z0-9]{53}$/);
    assert.equal(await verify('secret', hashed), true);
    assert.equal(await verify('Secret', hashed), false);
    assert.notEqual(await hash('secret'), hashed);
    assert.equal(await verify('', await hash('')), true);
    assert.equal(await verify('a\0b', await hash('a\0c')), false);
  });

  test('a hash made elsewhere is read, and what is none lets nobody in', async () => {
    const { verify } = bcryptHasher(10);
    // A vector of jBCrypt's.
    const known = '$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe';
    assert.equal(await verify('a', known), true);
    assert.equal(await verify('b', known), false);
    for (const text of ['', 'secret', '$2a$99$'.padEnd(60, 'a')])
      assert.equal(await verify('secret', text), false);
  });

  test('random letters are that many, and different each time', async () => {
    const { randomText } = await openAuthPorts(
      { token: 'simple', tokenTtlSeconds: 1, bcryptCost: 4 },
      () => {},
    );
    const texts = new Set(Array.from({ length: 100 }, () => randomText(16)));
    assert.equal(texts.size, 100);
    for (const text of texts) assert.match(text, /^[A-Za-z]{16}$/);
  });
});

describe('signed tokens', () => {
  for (const method of Object.keys(PAIRS)) {
    test(`${method}: what one member signs another reads, with the public key alone`, async () => {
      const { pub, priv } = keyFiles(method);
      const signer = await open(`jwt,pub-key=${pub},priv-key=${priv},sign-method=${method},ttl=10m`);
      const reader = await open(`jwt,pub-key=${pub},sign-method=${method}`);
      const token = await signer.sign({ username: 'ann', revision: 7 });
      const payload = decodeJwt(token);
      assert.deepEqual([payload.username, payload.revision], ['ann', 7]);
      const livesSeconds = (payload.exp as number) - Date.now() / 1000;
      assert.ok(livesSeconds > 590 && livesSeconds < 602, String(livesSeconds));
      for (let i = 0; i < 2; i++)
        assert.deepEqual(await reader.verify(token), { username: 'ann', revision: 7 });
      await assert.rejects(reader.sign({ username: 'ann', revision: 7 }));
      const [head, body, signature] = token.split('.') as [string, string, string];
      const forged = Buffer.from(JSON.stringify({ ...payload, username: 'root' })).toString('base64url');
      const unsigned = Buffer.from('{"alg":"none"}').toString('base64url');
      for (const bad of [
        `${head}.${forged}.${signature}`,
        `${unsigned}.${body}.`,
        `${head}.${body}.`,
        `${head}.${body}`,
        'abc',
        '',
      ]) {
        assert.equal(await reader.verify(bad), undefined, bad);
      }
    });
  }

  test('HS256: with the shared secret, and nobody signs with the public key of another method', async () => {
    const secret = file('secret', 'a shared secret of at least 32 bytes, says the standard');
    const tokens = await open(`jwt,priv-key=${secret},sign-method=HS256`);
    const token = await tokens.sign({ username: 'ann', revision: 1 });
    assert.deepEqual(await tokens.verify(token), { username: 'ann', revision: 1 });
    const { pub } = keyFiles('RS256');
    const reader = await open(`jwt,pub-key=${pub},sign-method=RS256`);
    const byPublicKey = await open(`jwt,priv-key=${pub},sign-method=HS256`);
    assert.equal(await reader.verify(await byPublicKey.sign({ username: 'root', revision: 1 })), undefined);
  });

  test('past their end, without a user or without a revision they are none', async () => {
    const { pub, priv } = keyFiles('ES256');
    const tokens = await open(`jwt,pub-key=${pub},priv-key=${priv},sign-method=ES256`);
    const signed = (claims: Record<string, unknown>, endsInSeconds: number) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256' })
        .setExpirationTime(Math.floor(Date.now() / 1000) + endsInSeconds)
        .sign(PAIRS.ES256?.privateKey as KeyObject);
    assert.ok(await tokens.verify(await signed({ username: 'ann', revision: 1 }, 60)));
    assert.equal(await tokens.verify(await signed({ username: 'ann', revision: 1 }, -1)), undefined);
    assert.equal(await tokens.verify(await signed({ revision: 1 }, 60)), undefined);
    assert.equal(await tokens.verify(await signed({ username: 'ann' }, 60)), undefined);
    assert.equal(await tokens.verify(await signed({ username: 'ann', revision: '1' }, 60)), undefined);
  });

  test('keys that cannot be are told at start, by file and without their content', async () => {
    const { pub } = keyFiles('RS256');
    const { priv } = keyFiles('ES256');
    const junk = file('junk', 'top secret junk');
    for (const token of [
      `jwt,pub-key=${pub},priv-key=${priv},sign-method=RS256`,
      `jwt,pub-key=${pub},priv-key=${priv},sign-method=ES256`,
      `jwt,priv-key=${junk},sign-method=RS256`,
      `jwt,pub-key=${junk},sign-method=RS256`,
      `jwt,pub-key=${directory}/absent,sign-method=RS256`,
    ]) {
      await assert.rejects(open(token), (error: Error) => {
        assert.ok(error instanceof StartRefused, String(error));
        assert.ok(!error.message.includes('top secret'), error.message);
        return true;
      });
    }
  });
});

test("the flag is read as etcd's, and what it cannot mean is refused", () => {
  assert.deepEqual(tokenOptions('simple'), { type: 'simple' });
  assert.deepEqual(tokenOptions('jwt,pub-key=a,priv-key=b,sign-method=RS256'), {
    type: 'jwt',
    method: 'RS256',
    publicKeyFile: 'a',
    privateKeyFile: 'b',
    ttlMs: 300_000,
  });
  for (const text of [
    '',
    'bearer',
    'jwt',
    'jwt,sign-method=RS256',
    'jwt,pub-key=a,sign-method=none',
    'jwt,pub-key=a,sign-method=HS256',
    'jwt,pub-key=a,sign-method=RS256,ttl=0s',
    'jwt,pub-key=a,sign-method=RS256,ttl=soon',
    'jwt,pub-key=a,sign-method=RS256,key=b',
    'jwt,pub-key=a,pub-key=b,sign-method=RS256',
    'jwt,pub-key',
  ]) {
    assert.throws(() => tokenOptions(text), StartRefused, text);
  }
});
