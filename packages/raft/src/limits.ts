/** Every bound of the core that a configuration may leave out, and how they relate. */
import { assert } from '@muster/base';

const MIB = 1 << 20;

/** Entries of one append message. */
export const DEFAULT_MAX_APPEND_BYTES = MIB;
/** Append messages under way to one peer. */
export const DEFAULT_MAX_INFLIGHT_MESSAGES = 256;
/** Entry bytes under way to one peer. */
export const DEFAULT_MAX_INFLIGHT_BYTES = 16 * MIB;
/** Entry bytes that a leader takes in before they are committed and handed out; beyond it proposals are refused. */
export const DEFAULT_MAX_UNCOMMITTED_BYTES = 64 * MIB;
/** Entry bytes handed out as committed and not yet reported applied. */
export const DEFAULT_MAX_COMMITTED_BYTES_PER_READY = 8 * MIB;
/** Read requests that a leader holds. */
export const DEFAULT_MAX_PENDING_READS = 65_536;

/** ReadIndex rounds under way at once: one on the wire, and one for what came in since. */
export const MAX_READ_ROUNDS = 2;

/** With the leader known dead, a pre-vote that got nowhere is tried again after so many ticks ... */
export const GONE_RETRY_TICKS = 2;
/** ... and up to so many more, drawn at random. */
export const GONE_RETRY_JITTER_TICKS = 2;
/** How long a pre-vote that came inside the lease is kept, in case the leader turns out to be dead. */
export const DEFERRED_PRE_VOTE_TICKS = 2;

assert(DEFAULT_MAX_APPEND_BYTES <= DEFAULT_MAX_INFLIGHT_BYTES, 'one append fits into the window');
assert(
  DEFAULT_MAX_INFLIGHT_BYTES <= DEFAULT_MAX_UNCOMMITTED_BYTES,
  'one window fits into the uncommitted tail',
);
