import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { KvError } from '@muster/contract';
import type { SignedTokens, TokenClaims } from '@muster/member';
import { errors, jwtVerify, SignJWT } from 'jose';
import { StartRefused } from '../start-refused.ts';
import type { SignMethod, TokenOptions } from './token-options.ts';

/** Tokens found good lately, so that a busy client's is not computed again for each call. */
const VERIFIED_MAX = 1024;

type Verified = { readonly claims: TokenClaims; readonly endMs: number };
type Keys = { readonly verifying: KeyObject; readonly signing: KeyObject | undefined };

/** JWT as etcd issues and reads it: claims `username`, `revision` and `exp`. Without a private key it only reads. */
export class JwtTokens implements SignedTokens {
  readonly #method: SignMethod;
  readonly #keys: Keys;
  readonly #ttlMs: number;
  readonly #verified = new Map<string, Verified>();

  private constructor(method: SignMethod, keys: Keys, ttlMs: number) {
    this.#method = method;
    this.#keys = keys;
    this.#ttlMs = ttlMs;
  }

  /** Reads the keys, and tries them where it can sign. Throws `StartRefused`. */
  static async open(options: Extract<TokenOptions, { readonly type: 'jwt' }>): Promise<JwtTokens> {
    const keys = await readKeys(options);
    const tokens = new JwtTokens(options.method, keys, options.ttlMs);
    try {
      const tried = keys.signing && (await tokens.sign({ username: 'root', revision: 1 }));
      if (tried !== undefined && (await tokens.#verify(tried)) === undefined) {
        throw new Error('pub-key does not belong to priv-key');
      }
    } catch (error) {
      throw new StartRefused(`--auth-token: ${options.method}: ${(error as Error).message}`);
    }
    return tokens;
  }

  sign({ username, revision }: TokenClaims): Promise<string> {
    const { signing } = this.#keys;
    if (!signing) {
      const detail = 'this member has no private key to sign tokens with';
      return Promise.reject(new KvError('AUTH_FAILED', { detail }));
    }
    return new SignJWT({ username, revision })
      .setProtectedHeader({ alg: this.#method, typ: 'JWT' })
      .setExpirationTime(Math.ceil((Date.now() + this.#ttlMs) / 1000))
      .sign(signing);
  }

  verify(token: string): TokenClaims | undefined | Promise<TokenClaims | undefined> {
    const known = this.#verified.get(token);
    if (known === undefined) return this.#verify(token);
    if (known.endMs > Date.now()) return known.claims;
    this.#verified.delete(token);
    return undefined;
  }

  async #verify(token: string): Promise<TokenClaims | undefined> {
    try {
      const { payload } = await jwtVerify(token, this.#keys.verifying, { algorithms: [this.#method] });
      const { username, revision, exp } = payload;
      if (typeof username !== 'string' || !Number.isSafeInteger(revision)) return undefined;
      const claims = { username, revision: revision as number };
      this.#remember(token, { claims, endMs: exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000 });
      return claims;
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  }

  #remember(token: string, verified: Verified): void {
    this.#verified.set(token, verified);
    for (const oldest of this.#verified.keys()) {
      if (this.#verified.size <= VERIFIED_MAX) break;
      this.#verified.delete(oldest);
    }
  }
}

async function readKeys(options: Extract<TokenOptions, { readonly type: 'jwt' }>): Promise<Keys> {
  const { method, publicKeyFile, privateKeyFile } = options;
  if (method.startsWith('HS')) {
    const secret = createSecretKey(await readKeyFile('priv-key', privateKeyFile as string));
    return { verifying: secret, signing: secret };
  }
  const signing =
    privateKeyFile === undefined
      ? undefined
      : parsed('priv-key', privateKeyFile, createPrivateKey, await readKeyFile('priv-key', privateKeyFile));
  const verifying =
    publicKeyFile === undefined
      ? createPublicKey(signing as KeyObject)
      : parsed('pub-key', publicKeyFile, createPublicKey, await readKeyFile('pub-key', publicKeyFile));
  return { verifying, signing };
}

async function readKeyFile(option: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new StartRefused(`--auth-token: cannot read ${option}: ${(error as Error).message}`);
  }
}

/** The message says which file, and nothing of what is in it. */
function parsed(option: string, path: string, parse: (pem: Buffer) => KeyObject, pem: Buffer): KeyObject {
  try {
    return parse(pem);
  } catch {
    throw new StartRefused(`--auth-token: ${option} ${path} holds no key that can be read; expected PEM`);
  }
}
