import type { Clock } from '@muster/base';
import { ERRORS, GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { ETCD_METHODS } from '../convert/methods.ts';
import type { Balancer } from './balancer.ts';
import { CallFailure } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';
import type { ClientCredentials } from './options.ts';

/** What a server says when a token has to be got anew. */
const RENEW = new Set<string>([
  ERRORS.INVALID_AUTH_TOKEN.text,
  ERRORS.AUTH_OLD_REVISION.text,
  ERRORS.USER_EMPTY.text,
  // 3.4's maintenance calls say it in these words.
  'auth: user name is empty',
]);

/** Answers to a login that will be the same in a moment. */
const REFUSED = new Set<string>([
  ERRORS.AUTH_FAILED.text,
  ERRORS.AUTH_NO_PASSWORD_USER.text,
  ERRORS.TOO_MANY_REQUESTS.text,
]);

/** Tokens of calls: what the caller brought, else our own user's, got once and again when it is refused. */
export class Tokens {
  readonly #balancer: Balancer;
  readonly #credentials: ClientCredentials | undefined;
  readonly #clock: Clock;
  #token: string | undefined;
  /** The last login's, and until when it stands for another. */
  #refusal: { readonly failure: CallFailure; readonly untilMs: number } | undefined;
  #getting: Promise<string> | undefined;

  constructor(balancer: Balancer, credentials: ClientCredentials | undefined, clock: Clock) {
    this.#clock = clock;
    this.#balancer = balancer;
    this.#credentials = credentials;
  }

  /** The token to send; `undefined` for none. Rejects with a `CallFailure`. */
  async of(options: CallOptions | undefined): Promise<string | undefined> {
    if (options?.token !== undefined && options.token !== '') return options.token;
    if (this.#credentials === undefined) return undefined;
    if (this.#token !== undefined) return this.#token;
    if (this.#refusal !== undefined && this.#clock.nowMs() < this.#refusal.untilMs)
      throw this.#refusal.failure;
    this.#getting ??= this.#get(this.#credentials).finally(() => {
      this.#getting = undefined;
    });
    return this.#getting;
  }

  /** Whether another token may help; never where the caller brought one. */
  renewable(options: CallOptions | undefined, failure: { readonly message: string }): boolean {
    const own = this.#credentials !== undefined && (options?.token ?? '') === '';
    return own && RENEW.has(failure.message);
  }

  /** `token` was refused. */
  forget(token: string | undefined): void {
    if (this.#token === token) this.#token = undefined;
  }

  /** Authenticating is repeated while no member can serve it. With authentication off the token is empty. */
  async #get(credentials: ClientCredentials): Promise<string> {
    for (let tries = 1; ; tries++) {
      const channel = await this.#balancer.ready(undefined, undefined);
      try {
        const timeoutMs = CLIENT_LIMITS.dialTimeoutMs;
        const sending = { token: undefined, requireLeader: false, timeoutMs };
        this.#token = (await channel.unary(ETCD_METHODS.authenticate, credentials, sending)).token;
        return this.#token;
      } catch (thrown) {
        if (!(thrown instanceof CallFailure)) throw thrown;
        if (thrown.message === ERRORS.AUTH_NOT_ENABLED.text) {
          this.#token = '';
          return '';
        }
        if (REFUSED.has(thrown.message)) {
          const untilMs = this.#clock.nowMs() + CLIENT_LIMITS.loginPauseMs;
          this.#refusal = { failure: thrown, untilMs };
        }
        if (thrown.code !== GrpcCode.UNAVAILABLE || tries >= this.#balancer.size + 1) throw thrown;
        channel.failed();
      }
    }
  }
}
