import type { LoginRequest, LoginResult } from '@muster/contract';
import { type Caller, jsonOf } from './caller.ts';
import { MusterError } from './errors.ts';

/** Who a client is: a user whose password it shows when it has to, or the bearer of a token that it cannot renew. */
export type Auth = { readonly name: string; readonly password: string } | { readonly token: string };

/**
 * The client's token. A user's is asked for when first needed, and again when a server refuses it; everybody who waits
 * for one waits for the same login.
 */
export class Login {
  readonly #caller: Caller;
  readonly #auth: Auth;
  #token: string | undefined;
  #known: boolean;
  #running: Promise<string | undefined> | undefined;

  /** `caller` makes calls without a token. */
  constructor(auth: Auth, caller: Caller) {
    this.#auth = auth;
    this.#caller = caller;
    this.#token = 'token' in auth ? auth.token : undefined;
    this.#known = 'token' in auth;
  }

  /** The token to show; `undefined` where nobody has to show one. Rejects when the login is refused. */
  async token(): Promise<string | undefined> {
    if (this.#known) return this.#token;
    this.#running ??= this.#login().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** A server did not take `token`. False when there will not be another one. */
  refused(token: string | undefined): boolean {
    if ('token' in this.#auth) return false;
    if (token === this.#token) this.#known = false;
    return true;
  }

  async #login(): Promise<string | undefined> {
    this.#token = await this.#ask();
    this.#known = true;
    return this.#token;
  }

  async #ask(): Promise<string | undefined> {
    if ('token' in this.#auth) return this.#auth.token;
    const { name, password } = this.#auth;
    const body: LoginRequest = { name, password };
    try {
      const response = await this.#caller.call({
        method: 'POST',
        path: '/v1/auth/login',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        repeat: 'safe',
      });
      return jsonOf<LoginResult>(response).token;
    } catch (error) {
      if (error instanceof MusterError && error.code === 'AUTH_NOT_ENABLED') return undefined;
      throw error;
    }
  }
}
