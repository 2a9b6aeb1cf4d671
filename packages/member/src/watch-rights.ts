import { GrpcCode, KvError } from '@muster/contract';
import { type AuthStore, checkRead, type Origin } from '@muster/kv';

const CODE_NAMES: Readonly<Record<number, string>> = {
  [GrpcCode.INVALID_ARGUMENT]: 'InvalidArgument',
  [GrpcCode.PERMISSION_DENIED]: 'PermissionDenied',
  [GrpcCode.UNAUTHENTICATED]: 'Unauthenticated',
  [GrpcCode.UNAVAILABLE]: 'Unavailable',
};

/** What etcd writes as the reason of a watch that is not allowed: a gRPC status as text. */
export function watchReason(thrown: unknown): string {
  const { row, message } = KvError.from(thrown);
  return `rpc error: code = ${CODE_NAMES[row.grpc] ?? 'Unknown'} desc = ${message}`;
}

/** Why a watch may not go on as rights are now, or `undefined`. A new password does not end it: its token did begin it. */
export function reasonAgainstWatch(
  auth: AuthStore,
  holder: Origin,
  range: { readonly key: Uint8Array; readonly rangeEnd: Uint8Array },
): string | undefined {
  const now = typeof holder === 'object' ? { ...holder, authRevision: auth.revision } : holder;
  try {
    checkRead(auth, now, range.key, range.rangeEnd);
    return undefined;
  } catch (error) {
    return watchReason(error);
  }
}
