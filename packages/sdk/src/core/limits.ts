import { assert } from '@muster/base';

/** Every bound and every time of the SDK, in one place. Times are milliseconds. */

/** A call's whole budget, over all its attempts, unless it says otherwise. */
export const CALL_TIMEOUT_MS = 10_000;
/** What one attempt of a repeatable call gets before another member is asked: a frozen one must not cost it all. */
export const ATTEMPT_TIMEOUT_MS = 3_000;
/** The longest that a server lets a request take. */
export const SERVER_TIMEOUT_MAX_MS = 60_000;
/** Pause between attempts of one call. */
export const CALL_BACKOFF = { firstMs: 20, maxMs: 1_000 } as const;
/** How long an endpoint that failed is passed over while others are left. */
export const ENDPOINT_COOLDOWN = { firstMs: 500, maxMs: 15_000 } as const;
/** The largest answer taken in. */
export const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

/** Opening a socket up to and including `welcome`. */
export const SOCKET_OPEN_TIMEOUT_MS = 5_000;
/** Pause before a lost socket is opened again. The first try waits at most `firstMs`. */
export const SOCKET_BACKOFF = { firstMs: 40, maxMs: 5_000 } as const;
/** A socket that held this long was sound: its loss is not one more failure in a row. */
export const SOCKET_SOUND_MS = 2_000;
/** Silence, in heartbeats, after which a socket counts as dead. */
export const SILENCE_HEARTBEATS = 2.5;
/** Pause before a subscription that the server ended is made again. */
export const SUBSCRIBE_BACKOFF = { firstMs: 100, maxMs: 10_000 } as const;

/** Revisions a subscription may hold that its consumer has not taken. */
export const WATCH_CREDIT = 256;

/** Time to live of a registration and the least there is. */
export const REGISTRATION_TTL_MS = 15_000;
export const LEASE_TTL_MIN_MS = 1_000;
/** A lease is renewed when this part of its time has passed. */
export const RENEW_AFTER = 1 / 3;
/** Lease ids in one keepalive request. */
export const KEEPALIVE_IDS_MAX = 500;
/** Retry of a keepalive that failed. */
export const KEEPALIVE_BACKOFF = { firstMs: 100, maxMs: 1_000 } as const;
/** Retry of a registration, for ever. */
export const REGISTER_BACKOFF = { firstMs: 100, maxMs: 10_000 } as const;
/** A registration that holds this long is sound again: its repair backoff starts anew. */
export const REPAIR_CALM_MS = 30_000;
/** How long deregistering waits for a put under way, or to be marked as draining. */
export const LEAVE_WAIT_MS = 1_000;
/** Deregistering gives up after this: the lease ends what is left. */
export const DEREGISTER_TIMEOUT_MS = 3_000;

/** Mass-loss guard: this many, and more than this part, expiring within the window are kept as suspects a while. */
export const MASS_LOSS_MIN = 3;
export const MASS_LOSS_PART = 0.5;
export const MASS_LOSS_WINDOW_MS = 10_000;
export const SUSPECT_MAX_MS = 60_000;

assert(ATTEMPT_TIMEOUT_MS < CALL_TIMEOUT_MS, 'one attempt must leave time for another');
assert(LEASE_TTL_MIN_MS <= REGISTRATION_TTL_MS, 'the default ttl is one that is allowed');
assert(MASS_LOSS_WINDOW_MS < SUSPECT_MAX_MS, 'a suspect outlives the window that made it one');
