import { type Group, verb } from '../line/command.ts';
import { bool } from '../line/flag.ts';

export const KEEP_ALIVE_FLAGS = {
  once: bool('Resets the keep-alive time to its original value and exits immediately'),
};
export const TIME_TO_LIVE_FLAGS = { keys: bool('Get keys attached to this lease') };

export const LEASE: Group = {
  name: 'lease',
  summary: 'Lease related commands',
  children: [
    verb({
      name: 'grant',
      summary: 'Creates leases',
      usage: '<ttl>',
      flags: {},
      load: async () => (await import('../commands/lease.ts')).leaseGrant,
    }),
    verb({
      name: 'keep-alive',
      summary: 'Keeps leases alive (renew)',
      usage: '[options] <leaseID>',
      flags: KEEP_ALIVE_FLAGS,
      load: async () => (await import('../commands/lease.ts')).leaseKeepAlive,
    }),
    verb({
      name: 'list',
      summary: 'List all active leases',
      usage: '',
      flags: {},
      load: async () => (await import('../commands/lease.ts')).leaseList,
    }),
    verb({
      name: 'revoke',
      summary: 'Revokes leases',
      usage: '<leaseID>',
      flags: {},
      load: async () => (await import('../commands/lease.ts')).leaseRevoke,
    }),
    verb({
      name: 'timetolive',
      summary: 'Get lease information',
      usage: '<leaseID> [options]',
      flags: TIME_TO_LIVE_FLAGS,
      load: async () => (await import('../commands/lease.ts')).leaseTimeToLive,
    }),
  ],
};
