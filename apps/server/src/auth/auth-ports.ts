import { randomInt } from 'node:crypto';
import type { AuthPorts, MemberLog, PasswordHasher } from '@muster/member';
import { hash, verify } from '@node-rs/bcrypt';
import type { Config } from '../config.ts';
import { JwtTokens } from './jwt-tokens.ts';
import { tokenOptions } from './token-options.ts';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Authentication on a real machine: bcrypt on the thread pool, letters out of the system's random numbers. */
export async function openAuthPorts(config: Config['auth'], log: MemberLog): Promise<AuthPorts> {
  const options = tokenOptions(config.token);
  const common = { passwords: bcryptHasher(config.bcryptCost), randomText, log };
  return options.type === 'simple' ? common : { ...common, signedTokens: await JwtTokens.open(options) };
}

/** Text as Go's bcrypt writes it, so that etcd reads it after a restore. */
export function bcryptHasher(cost: number): PasswordHasher {
  return {
    hash: (password) => hash(password, { cost, version: '2a' }),
    // A text that is no hash lets nobody in: it came out of a backup, not from here.
    verify: (password, hashed) => verify(password, hashed).catch(() => false),
  };
}

function randomText(letters: number): string {
  let text = '';
  for (let i = 0; i < letters; i++) text += LETTERS[randomInt(LETTERS.length)];
  return text;
}
