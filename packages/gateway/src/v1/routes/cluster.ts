/** `/v1/members` and `/v1/status`. */
import { idToHex, type StatusResource } from '@muster/contract';
import type { ClusterWatch } from '../cluster-state.ts';
import { revisionOf, type V1Context } from '../context.ts';
import type { V1Request } from '../router.ts';
import { json, storeHeaders } from './kv.ts';

export async function listMembers(
  context: V1Context,
  cluster: ClusterWatch,
  request: V1Request<'listMembers'>,
): Promise<Response> {
  // The state is looked at once for everybody. It says more than etcd's list, which members give to whoever asks: whether
  // this caller is anybody is asked here.
  await context.api.status(request.call);
  return json(await cluster.state(), 200, new Headers({ 'cache-control': 'no-store' }));
}

export async function getStatus(context: V1Context, request: V1Request<'getStatus'>): Promise<Response> {
  const status = await context.api.status(request.call);
  const { header } = status;
  const body: StatusResource = {
    clusterId: idToHex(header.clusterId),
    memberId: idToHex(header.memberId),
    epoch: context.epochOf(header),
    version: status.version,
    revision: revisionOf(header),
    leader: status.leader === 0n ? null : idToHex(status.leader),
    term: status.raftTerm,
    raftIndex: status.raftIndex,
    appliedIndex: status.raftAppliedIndex,
    dbSize: status.dbSize,
    dbSizeInUse: status.dbSizeInUse,
    dbSizeQuota: status.dbSizeQuota,
    learner: status.isLearner,
    errors: [...status.errors],
  };
  return json(body, 200, storeHeaders(context, header));
}
