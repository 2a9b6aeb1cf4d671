import type { Prng } from '@muster/base';
import type { AuthPorts } from '../src/index.ts';

/** Authentication in simulation: hashes that cost nothing, and letters out of the seed. */
export function simAuth(prng: Prng): AuthPorts {
  return {
    passwords: {
      hash: async (password) => `hash of ${password}`,
      verify: async (password, hashed) => hashed === `hash of ${password}`,
    },
    randomText: (letters) =>
      Array.from({ length: letters }, () => String.fromCharCode(97 + prng.int(0, 25))).join(''),
  };
}
