import { KvError } from '@muster/contract';
import type { CallOptions, Origin } from '@muster/kv';
import type { SignedTokens } from './auth-ports.ts';
import type { Member } from './member.ts';

const SIMPLE_TOKEN = /^[A-Za-z]{16}\.(\d{1,15})$/;

/** Who asks: told by what came with a call. */
export class AuthGate {
  readonly #member: Member;
  readonly #signed: SignedTokens | undefined;
  readonly #barrier: (options: CallOptions) => Promise<void>;

  constructor(
    member: Member,
    signed: SignedTokens | undefined,
    barrier: (options: CallOptions) => Promise<void>,
  ) {
    this.#member = member;
    this.#signed = signed;
    this.#barrier = barrier;
  }

  get enabled(): boolean {
    return this.#member.machine.auth.enabled;
  }

  /**
   * The token says who it is, else the certificate. Credentials mean nothing while authentication is off. Throws or
   * rejects with `USER_EMPTY`, `INVALID_AUTH_TOKEN` or `AUTH_OLD_REVISION`. A promise only where it takes one, so that
   * calls of one caller keep their order.
   */
  identify(options: CallOptions): Origin | Promise<Origin> {
    if (options.internal) return 'internal';
    if (!this.enabled) return 'anonymous';
    if (options.token !== undefined) return this.#ofToken(options.token, options);
    if (options.certificateName !== undefined) return this.#user(options.certificateName);
    throw new KvError('USER_EMPTY');
  }

  /**
   * The same caller after time has passed: what it came with is looked at again when rights have changed meanwhile.
   * Throws as `identify` does.
   */
  again(origin: Origin, options: CallOptions): Origin | Promise<Origin> {
    if (origin === 'internal') return origin;
    if (!this.enabled) return 'anonymous';
    if (typeof origin === 'object') {
      if (origin.authRevision === this.#member.machine.auth.revision) return origin;
      if (this.#signed !== undefined && options.token !== undefined) throw new KvError('AUTH_OLD_REVISION');
    }
    return this.identify(options);
  }

  #ofToken(token: string, options: CallOptions): Origin | Promise<Origin> {
    if (this.#signed !== undefined) return this.#ofSigned(this.#signed, token, options);
    const known = this.#ofKnownToken(token);
    if (known !== undefined) return known;
    // Issued by an entry that is yet to be applied here: another member was quicker.
    const index = SIMPLE_TOKEN.exec(token)?.[1];
    if (index === undefined || Number(index) <= this.#member.applied) return invalidToken();
    return this.#barrier(options).then(() => this.#ofKnownToken(token) ?? invalidToken());
  }

  #ofKnownToken(token: string): Origin | undefined {
    const username = this.#member.tokens.use(token);
    return username === undefined ? undefined : this.#user(username);
  }

  /** Good for the revision that it was issued at and no other, as in etcd. */
  #ofSigned(signed: SignedTokens, token: string, options: CallOptions): Origin | Promise<Origin> {
    const finish = (claims: Awaited<ReturnType<SignedTokens['verify']>>): Origin | Promise<Origin> => {
      if (claims === undefined) return invalidToken();
      const settle = (): Origin => {
        if (claims.revision !== this.#member.machine.auth.revision) throw new KvError('AUTH_OLD_REVISION');
        return { username: claims.username, authRevision: claims.revision };
      };
      if (claims.revision > this.#member.machine.auth.revision) return this.#barrier(options).then(settle);
      return settle();
    };
    const claims = signed.verify(token);
    return claims instanceof Promise ? claims.then(finish) : finish(claims);
  }

  #user(username: string): Origin {
    return { username, authRevision: this.#member.machine.auth.revision };
  }
}

function invalidToken(): never {
  throw new KvError('INVALID_AUTH_TOKEN');
}
