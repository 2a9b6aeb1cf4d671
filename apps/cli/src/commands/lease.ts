import { ERRORS, KvError } from '@muster/contract';
import { badArgs, Exit, errorText, Failure } from '../failure.ts';
import type { Run } from '../line/command.ts';
import { decimalOf, leaseIdOf } from '../numbers.ts';
import { pause } from '../pause.ts';
import {
  grantView,
  keepAliveView,
  leasesView,
  leaseText,
  revokeView,
  timeToLiveView,
} from '../print/lease-views.ts';
import type { KEEP_ALIVE_FLAGS, TIME_TO_LIVE_FLAGS } from '../tree/lease.ts';

type NoFlags = Record<never, never>;
const BAD_ID = 'bad lease ID arg';

export const leaseGrant: Run<NoFlags> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) throw badArgs('lease grant command needs TTL argument');
  const ttlSeconds = decimalOf(text, (reason) => badArgs(`bad TTL (${reason})`));
  const { api, options } = await call.connect();
  const granted = api.leaseGrant({ id: 0n, ttlSeconds }, options(call.signal));
  await call.printer.print(grantView(await granted.catch(explained('grant'))));
};

export const leaseRevoke: Run<NoFlags> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) throw badArgs('lease revoke command needs 1 argument');
  const id = leaseIdOf(text, BAD_ID);
  const { api, options } = await call.connect();
  const revoked = api.leaseRevoke({ id }, options(call.signal));
  await call.printer.print(revokeView(id, await revoked.catch(explained('revoke'))));
};

function explained(what: string): (error: unknown) => never {
  return (error) => {
    const untouched =
      error instanceof KvError && (error.code === 'AUTH_FAILED' || error.code === 'AUTH_NO_PASSWORD_USER');
    throw untouched ? error : new Failure(`failed to ${what} lease (${errorText(error)})`);
  };
}

export const leaseTimeToLive: Run<typeof TIME_TO_LIVE_FLAGS> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) {
    throw badArgs('lease timetolive command needs lease ID as argument');
  }
  const id = leaseIdOf(text, BAD_ID);
  const { keys } = call.flags;
  const { api, options } = await call.connect();
  await call.printer.print(
    timeToLiveView(await api.leaseTimeToLive({ id, keys }, options(call.signal)), keys),
  );
};

export const leaseList: Run<NoFlags> = async (call) => {
  const { api, options } = await call.connect();
  await call.printer.print(leasesView(await api.leaseLeases(options(call.signal))));
};

/** Renews three times per TTL until the lease is gone or the command is stopped. */
export const leaseKeepAlive: Run<typeof KEEP_ALIVE_FLAGS> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) {
    throw badArgs('lease keep-alive command needs lease ID as argument');
  }
  const id = leaseIdOf(text, BAD_ID);
  const { api, options } = await call.connect();
  if (call.flags.once) {
    const kept = await api.leaseKeepAlive({ id }, options(call.signal));
    if (kept.ttlSeconds <= 0) throw new Failure(ERRORS.LEASE_NOT_FOUND.text, Exit.BAD_CONNECTION);
    return call.printer.print(keepAliveView(kept));
  }
  while (!call.signal.aborted) {
    const kept = await api.leaseKeepAlive({ id }, options(call.signal));
    if (kept.ttlSeconds <= 0) break;
    await call.printer.print(keepAliveView(kept));
    await pause(Math.max(KEEP_ALIVE_MIN_MS, (kept.ttlSeconds * 1000) / 3), call.signal);
  }
  if (call.signal.aborted) return;
  if (call.printer.format === 'simple') call.io.out(`lease ${leaseText(id)} expired or revoked.\n`);
};

/** However short a lease is. */
const KEEP_ALIVE_MIN_MS = 500;
