import type { Clock, Prng } from '@muster/base';
import type { PeerEvent } from '@muster/member';
import type { NodeId } from '@muster/raft';
import type { TlsIdentity } from '../tls/identity.ts';
import type { Self } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import type { SnapshotFiles } from './snapshot-files.ts';

/** Structured logging as the transport needs it; pino's loggers fit. */
export type PeerLog = {
  info(fields: Readonly<Record<string, unknown>>, text: string): void;
  warn(fields: Readonly<Record<string, unknown>>, text: string): void;
};

/** What went wrong so far. */
export type PeerTallies = {
  /** Connections that were up and are not any more. */
  disconnected: number;
  /** Connections closed because what came in made no sense. */
  malformed: number;
  /** Snapshots that did not come in whole. */
  snapshotsLost: number;
};

/** What every part of one transport shares. */
export type PeerEnv = {
  readonly self: Self;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: PeerLog;
  readonly limits: PeerLimits;
  readonly snapshots: SnapshotFiles;
  /** There must be one where an address says `tls`. */
  readonly tls: TlsIdentity | undefined;
  readonly emit: (event: PeerEvent) => void;
  /** Where the others can dial this member, as far as it knows. */
  readonly urls: () => readonly string[];
  readonly tallies: PeerTallies;
  readonly onRoundTrip: (peer: NodeId, ms: number) => void;
};
