import { KvError } from '@muster/contract';
import { badArgs } from '../failure.ts';
import type { Run } from '../line/command.ts';
import { doneView } from '../print/cluster-views.ts';
import { omitEmpty } from '../print/go-text.ts';
import { headerFields, headerJson } from '../print/header.ts';

type NoFlags = Record<never, never>;

/** A root user without the role of that name is given it first. */
export const authEnable: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('auth enable command does not accept any arguments');
  const { api, options } = await call.connect();
  const enable = () => api.authEnable(options(call.signal));
  let result: Awaited<ReturnType<typeof enable>>;
  try {
    result = await enable();
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== 'ROOT_ROLE_MISSING') throw error;
    await api.roleAdd({ name: 'root' }, options(call.signal)).catch(unless('ROLE_EXISTS'));
    await api.userGrantRole({ user: 'root', role: 'root' }, options(call.signal));
    result = await enable();
  }
  await call.printer.print(doneView('Authentication Enabled\n', 'AuthEnableResponse', result));
};

function unless(code: KvError['code']): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof KvError) || error.code !== code) throw error;
  };
}

export const authDisable: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('auth disable command does not accept any arguments');
  const { api, options } = await call.connect();
  const result = await api.authDisable(options(call.signal));
  await call.printer.print(doneView('Authentication Disabled\n', 'AuthDisableResponse', result));
};

export const authStatus: Run<NoFlags> = async (call) => {
  if (call.args.length > 0) throw badArgs('auth status command does not accept any arguments');
  const { api, options } = await call.connect();
  const { header, enabled, authRevision } = await api.authStatus(options(call.signal));
  await call.printer.print({
    simple: () => [`Authentication Status: ${enabled}\nAuthRevision: ${authRevision}\n`],
    fields: () => [headerFields(header), `"Enabled" : ${enabled}\n"AuthRevision" : ${authRevision}\n`],
    message: () => ({
      name: 'AuthStatusResponse',
      fields: omitEmpty({ header: headerJson(header), enabled, authRevision }),
    }),
  });
};
