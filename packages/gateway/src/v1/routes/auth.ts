/** `/v1/auth`. */
import type { LoginResult } from '@muster/contract';
import { sourceOf } from '../../middleware/source.ts';
import type { V1Context } from '../context.ts';
import type { V1Request } from '../router.ts';
import { json } from './kv.ts';

export async function login(context: V1Context, request: V1Request<'login'>): Promise<Response> {
  const { name, password } = await request.json();
  const { timeoutMs } = request.call;
  const source = sourceOf(request.hono);
  const { token } = await context.api.authenticate(
    { name, password },
    { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(source === undefined ? {} : { source }) },
  );
  const body: LoginResult = { token };
  return json(body, 200, new Headers({ 'cache-control': 'no-store' }));
}
