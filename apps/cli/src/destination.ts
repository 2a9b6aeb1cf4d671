import type { ConnectSpec, EtcdClient } from './client.ts';
import { badArgs } from './failure.ts';
import type { Call } from './line/command.ts';

/** Flags of commands that write to a second cluster. */
type DestinationFlags = {
  readonly 'dest-cacert': string;
  readonly 'dest-cert': string;
  readonly 'dest-insecure-transport': boolean;
  readonly 'dest-key': string;
  readonly 'dest-password': string;
  readonly 'dest-user': string;
};

/** `endpoints` are separated by commas. */
export function connectDestination(
  call: Pick<Call, 'dial' | 'globals'> & { readonly flags: DestinationFlags },
  endpoints: string,
): Promise<EtcdClient> {
  const { flags } = call;
  const list = endpoints.split(',').filter((endpoint) => endpoint !== '');
  if (list.length === 0) throw badArgs('the destination is empty: expected host:port[,host:port]');
  const spec: ConnectSpec = {
    endpoints: list,
    cacert: flags['dest-cacert'],
    cert: flags['dest-cert'],
    key: flags['dest-key'],
    skipVerify: call.globals['insecure-skip-tls-verify'],
    insecureTransport: flags['dest-insecure-transport'],
    credentials: credentialsOf(flags),
  };
  return call.dial(spec);
}

function credentialsOf(flags: DestinationFlags): ConnectSpec['credentials'] {
  const user = flags['dest-user'];
  if (user === '') return undefined;
  const colon = user.indexOf(':');
  if (flags['dest-password'] !== '') return { name: user, password: flags['dest-password'] };
  if (colon < 0) throw badArgs('--dest-user has no password: expected name:password, or --dest-password');
  return { name: user.slice(0, colon), password: user.slice(colon + 1) };
}
