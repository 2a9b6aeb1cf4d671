import { badArgs, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { memberIdOf } from '../numbers.ts';
import {
  idText,
  type Members,
  memberAddView,
  memberChangeView,
  memberListView,
} from '../print/cluster-views.ts';
import type { MEMBER_ADD_FLAGS, MEMBER_LIST_FLAGS, MEMBER_UPDATE_FLAGS } from '../tree/cluster.ts';

type NoFlags = Record<never, never>;

export const memberAdd: Run<typeof MEMBER_ADD_FLAGS> = async (call) => {
  const [name] = call.args;
  if (name === undefined) throw badArgs('member name not provided');
  if (call.args.length > 1) throw badArgs('too many arguments');
  const peerUrls = peerUrlsOf(call.flags['peer-urls']);
  const { api, options } = await call.connect();
  const request = { peerUrls, ...(call.flags.learner && { isLearner: true }) };
  await call.printer.print(memberAddView(await api.memberAdd(request, options(call.signal)), name));
};

export const memberList: Run<typeof MEMBER_LIST_FLAGS> = async (call) => {
  const { consistency } = call.flags;
  if (consistency !== 'l' && consistency !== 's') {
    throw badArgs(`unknown consistency flag ${JSON.stringify(consistency)}, expected l or s`);
  }
  const { api, options } = await call.connect();
  const request = { linearizable: consistency === 'l' };
  await call.printer.print(memberListView(await api.memberList(request, options(call.signal))));
};

export const memberRemove: Run<NoFlags> = (call) =>
  change(call, 'removed from', 'MemberRemoveResponse', async (id) => {
    const { api, options } = await call.connect();
    return api.memberRemove({ id }, options(call.signal));
  });

export const memberPromote: Run<NoFlags> = (call) =>
  change(call, 'promoted in', 'MemberPromoteResponse', async (id) => {
    const { api, options } = await call.connect();
    return api.memberPromote({ id }, options(call.signal));
  });

export const memberUpdate: Run<typeof MEMBER_UPDATE_FLAGS> = (call) =>
  change(call, 'updated in', 'MemberUpdateResponse', async (id) => {
    const peerUrls = peerUrlsOf(call.flags['peer-urls']);
    const { api, options } = await call.connect();
    return api.memberUpdate({ id, peerUrls }, options(call.signal));
  });

async function change(
  call: Pick<Call, 'args' | 'printer'>,
  done: string,
  message: string,
  act: (id: bigint) => Promise<Members>,
): Promise<void> {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) throw badArgs('member ID is not provided');
  const id = memberIdOf(text);
  const result = await act(id);
  const line = `Member ${padded(id)} ${done} cluster ${padded(result.header.clusterId)}\n`;
  await call.printer.print(memberChangeView(line, message, result));
}

function padded(id: bigint): string {
  return idText(id).padStart(16, ' ');
}

/** Checked here as etcd's client does; the rest is the server's to say. */
function peerUrlsOf(urls: readonly string[]): readonly string[] {
  if (urls.length === 0) throw badArgs('member peer urls not provided');
  for (const url of urls) {
    if (!/^(https?|unixs?):\/\//.test(url)) {
      throw new Failure(`URL scheme must be http, https, unix, or unixs: ${url}`);
    }
  }
  return urls;
}
