import type { MemberLog } from './member-log.ts';

/** A token's signed content. `revision` is the authentication revision it was issued at. */
export type TokenClaims = { readonly username: string; readonly revision: number };

/** Signed tokens, which every member can check by itself. */
export interface SignedTokens {
  sign(claims: TokenClaims): Promise<string>;
  /** `undefined` of what is no valid token: altered, of another key, or past its end. */
  verify(token: string): TokenClaims | undefined | Promise<TokenClaims | undefined>;
}

/** bcrypt's text and back, away from the thread that serves. */
export interface PasswordHasher {
  hash(password: string): Promise<string>;
  verify(password: string, hashed: string): Promise<boolean>;
}

/** What authentication takes from outside. */
export type AuthPorts = {
  readonly passwords: PasswordHasher;
  /** That many letters of which nobody can guess the next. */
  readonly randomText: (letters: number) => string;
  /** In place of tokens that the log installs. */
  readonly signedTokens?: SignedTokens;
  readonly log?: MemberLog;
};
