import type { Clock } from '@muster/base';
import type { ApplyResult, Command } from '@muster/kv';

/** etcd's `auth-token-ttl`. */
export const TOKEN_TTL_SECONDS = 300;
/** Tokens alive at a time; the one that was not used for longest goes first. Each of them took a password check. */
export const TOKENS_MAX = 65_536;
/** Uses of a token within this time move its place in the order once. */
const TOUCH_MS = 1000;

type Token = { readonly username: string; usedMs: number; placedMs: number };

/**
 * Tokens that a log entry installed on every member (reference 2.14): in memory alone, so that a restart forgets them,
 * and good for a time after their last use on this member.
 */
export class SimpleTokens {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  /** The one used longest ago first. */
  readonly #tokens = new Map<string, Token>();

  constructor(clock: Clock, ttlSeconds: number) {
    this.#clock = clock;
    this.#ttlMs = ttlSeconds * 1000;
  }

  get size(): number {
    return this.#tokens.size;
  }

  install(token: string, username: string): void {
    this.#expire();
    const now = this.#clock.nowMs();
    this.#tokens.set(token, { username, usedMs: now, placedMs: now });
    for (const oldest of this.#tokens.keys()) {
      if (this.#tokens.size <= TOKENS_MAX) break;
      this.#tokens.delete(oldest);
    }
  }

  /** Whose token it is, if it is one; it lives on from now. */
  use(token: string): string | undefined {
    const found = this.#tokens.get(token);
    if (found === undefined) return undefined;
    const now = this.#clock.nowMs();
    if (now - found.usedMs > this.#ttlMs) {
      this.#tokens.delete(token);
      return undefined;
    }
    found.usedMs = now;
    if (now - found.placedMs >= TOUCH_MS) {
      found.placedMs = now;
      this.#tokens.delete(token);
      this.#tokens.set(token, found);
    }
    return found.username;
  }

  /** The user is gone, or the password another. */
  forgetUser(username: string): void {
    for (const [token, held] of this.#tokens) if (held.username === username) this.#tokens.delete(token);
  }

  clear(): void {
    this.#tokens.clear();
  }

  #expire(): void {
    const deadMs = this.#clock.nowMs() - this.#ttlMs;
    for (const [token, { usedMs }] of this.#tokens) {
      // The order is that of uses within TOUCH_MS: what follows is not older by more.
      if (usedMs >= deadMs) return;
      this.#tokens.delete(token);
    }
  }
}

/** What an applied command means for tokens: the same on every member, apart from the time that each was last used. */
export function followTokens(tokens: SimpleTokens, command: Command, result: ApplyResult): void {
  if (command.type === 'authenticate' && result.type === 'authenticate') {
    tokens.install(result.token, command.name);
  } else if (command.type === 'userDelete' || command.type === 'userChangePassword') {
    tokens.forgetUser(command.name);
  } else if (command.type === 'authDisable') {
    tokens.clear();
  }
}
