import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCommandLine } from './command-line.ts';
import { configOf } from './config.ts';
import { discovered, type Resolver } from './discovery.ts';

const RECORDS: Readonly<Record<string, readonly { name: string; port: number }[]>> = {
  '_etcd-server._tcp.example.com': [
    { name: 'a.example.com.', port: 2380 },
    { name: 'b.example.com', port: 2380 },
  ],
  '_etcd-server-ssl-prod._tcp.example.com': [{ name: 'c.example.com', port: 2382 }],
};
const dns: Resolver = {
  srv: async (name) => RECORDS[name] ?? Promise.reject(Object.assign(new Error(name), { code: 'ENOTFOUND' })),
  address: async (host) => (/^[\d.]+$/.test(host) ? host : `10.0.0.${host.charCodeAt(0) - 96}`),
};

function config(flags: string) {
  return configOf(readCommandLine(flags.split(' '), {}));
}

describe('discovery by SRV records', () => {
  it('names this member, and numbers the others', async () => {
    const flags = '--name me --discovery-srv example.com --initial-advertise-peer-urls http://10.0.0.2:2380';
    const { initialCluster } = await discovered(config(flags), dns);
    assert.deepEqual(
      [...initialCluster],
      [
        ['0', ['http://a.example.com:2380']],
        ['me', ['http://b.example.com:2380']],
      ],
    );
  });

  it('asks for a service of another name, over TLS too', async () => {
    const flags =
      '--name me --discovery-srv example.com --discovery-srv-name prod --initial-advertise-peer-urls https://c.example.com:2382';
    const { initialCluster } = await discovered(config(flags), dns);
    assert.deepEqual([...initialCluster], [['me', ['https://c.example.com:2382']]]);
  });

  it('is refused where there are no records, and leaves everything alone when it is not asked for', async () => {
    await assert.rejects(
      discovered(config('--discovery-srv example.org'), dns),
      /no SRV records \(_etcd-server-ssl\._tcp\.example\.org: ENOTFOUND, _etcd-server\._tcp\.example\.org: ENOTFOUND\)$/,
    );
    const plain = config('--name me');
    assert.equal(await discovered(plain, dns), plain);
  });
});
