import { grpcCodeOfRecipe, KvError } from '@muster/contract';
import type { ConcurrencyApi } from '@muster/kv';
import {
  campaignJson,
  campaignRequest,
  electionRequest,
  leaderJson,
  lockJson,
  lockRequest,
  proclaimRequest,
  resignRequest,
  unlockRequest,
} from './concurrency-messages.ts';
import { ListSession } from './list-session.ts';
import { headerOnlyJson } from './responses.ts';
import type { Route } from './routes.ts';
import { StatusError } from './status-error.ts';
import { type UnaryRoute, unary } from './unary.ts';

/** etcd's lock and election services by path. */
export function concurrencyCalls(api: ConcurrencyApi): Record<string, Route> {
  return {
    'lock/lock': blocking((value, options) => answer(api.lock(lockRequest(value), options), lockJson)),
    'lock/unlock': unary((value, options) =>
      answer(api.unlock(unlockRequest(value), options), headerOnlyJson),
    ),
    'election/campaign': blocking((value, options) =>
      answer(api.campaign(campaignRequest(value), options), campaignJson),
    ),
    'election/proclaim': unary((value, options) =>
      answer(api.proclaim(proclaimRequest(value), options), headerOnlyJson),
    ),
    'election/leader': unary((value, options) =>
      answer(api.leader(electionRequest(value), options), leaderJson),
    ),
    'election/resign': unary((value, options) =>
      answer(api.resign(resignRequest(value), options), headerOnlyJson),
    ),
    'election/observe': {
      type: 'stream',
      open: (options) => (output) =>
        new ListSession(
          {
            request: electionRequest,
            items: (request, signal) => api.observe(request, { ...options, signal }),
            answers: (leader) => [leaderJson(leader)],
            error: recipeError,
          },
          output,
        ),
    },
  };
}

function blocking(call: UnaryRoute['call']): UnaryRoute {
  return { ...unary(call), blocks: true };
}

async function answer<T>(result: Promise<T>, json: (result: T) => string): Promise<string> {
  try {
    return json(await result);
  } catch (thrown) {
    // What is not in the table is the server's own fault and stays one.
    throw KvError.from(thrown).code === 'INTERNAL' ? thrown : recipeError(thrown);
  }
}

function recipeError(thrown: unknown): StatusError {
  return new StatusError(grpcCodeOfRecipe(KvError.from(thrown)), StatusError.from(thrown).message);
}
