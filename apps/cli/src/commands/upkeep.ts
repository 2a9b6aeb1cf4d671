import type { Alarm } from '@muster/kv';
import { badArgs, Exit, errorText, Failure } from '../failure.ts';
import type { Run } from '../line/command.ts';
import { hexOf } from '../numbers.ts';
import { alarmView, doneView, idText } from '../print/cluster-views.ts';
import type { CLUSTER_FLAGS } from '../tree/cluster.ts';
import { endpointsOf } from './endpoint.ts';

type NoFlags = Record<never, never>;
const ALL_ALARMS = { action: 'get', memberId: 0n, alarm: 'none' } as const;

export const alarmList: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('alarm list command accepts no arguments');
  const { api, options } = await call.connect();
  await call.printer.print(alarmView(await api.alarm(ALL_ALARMS, options(call.signal))));
};

/** Puts out every alarm that is up, and prints those. */
export const alarmDisarm: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('alarm disarm command accepts no arguments');
  const { api, options } = await call.connect();
  const raised = await api.alarm(ALL_ALARMS, options(call.signal));
  let { header } = raised;
  const alarms: Alarm[] = [];
  for (const { memberId, alarm } of raised.alarms) {
    const done = await api.alarm({ action: 'deactivate', memberId, alarm }, options(call.signal));
    header = done.header;
    alarms.push(...done.alarms);
  }
  await call.printer.print(alarmView({ header, alarms }));
};

export const defrag: Run<typeof CLUSTER_FLAGS> = async (call) => {
  let failed = false;
  for (const endpoint of await endpointsOf(call)) {
    try {
      const { api, options } = await call.connect([endpoint]);
      await api.defragment(options(call.signal));
      call.io.out(`Finished defragmenting etcd member[${endpoint}]\n`);
    } catch (error) {
      if (error instanceof Failure) throw error;
      failed = true;
      call.io.err(`Failed to defragment etcd member[${endpoint}] (${errorText(error)})\n`);
    }
  }
  if (failed) throw new Failure('', Exit.ERROR);
};

/** Asks the leader, which must be among the endpoints. */
export const moveLeader: Run<NoFlags> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) throw badArgs('move-leader command needs 1 argument');
  const targetId = hexOf(text, 'ParseUint');
  if (typeof targetId !== 'bigint') throw badArgs(targetId.reason);
  for (const endpoint of call.globals.endpoints) {
    const { api, options } = await call.connect([endpoint]);
    const { leader, header } = await api.status(options(call.signal));
    if (header.memberId !== leader) continue;
    const result = await api.moveLeader({ targetId }, options(call.signal));
    const line = `Leadership transferred from ${idText(leader)} to ${idText(targetId)}\n`;
    return call.printer.print(doneView(line, 'MoveLeaderResponse', result));
  }
  throw badArgs(`no leader endpoint given at [${call.globals.endpoints.join(' ')}]`);
};

export function downgradeTo(action: 'validate' | 'enable' | 'cancel'): Run<NoFlags> {
  return async (call) => {
    const [version = ''] = call.args;
    if (action !== 'cancel' && version === '') throw badArgs('TARGET_VERSION not provided');
    if (call.args.length > (action === 'cancel' ? 0 : 1)) throw badArgs('too many arguments');
    const { api, options } = await call.connect();
    const result = await api.downgrade({ action, version }, options(call.signal));
    const line = `Downgrade ${action} success, cluster version ${result.version}\n`;
    await call.printer.print(doneView(line, 'DowngradeResponse', result));
  };
}
