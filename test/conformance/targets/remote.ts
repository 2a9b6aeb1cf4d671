import { connectEtcd } from '@muster/wire';
import type { Target } from '../suite.ts';

type Store = { readonly endpoints: readonly string[]; stop(): Promise<void> };

/** A store behind its gRPC port, through the client of a remote cluster. */
export function remoteTarget(name: string, lacks: Target['lacks'], startStore: () => Promise<Store>): Target {
  return {
    name,
    lacks: {
      'watch-nothing-held': 'the client holds a little for a full sink before the watch becomes a cursor',
      ...lacks,
    },
    start: async () => {
      const store = await startStore();
      const remote = connectEtcd({ endpoints: store.endpoints });
      return {
        api: remote.api,
        passTime: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: async () => {
          remote.close();
          await store.stop();
        },
      };
    },
  };
}
