export {
  ERRORS,
  type ErrorCode,
  type ErrorRow,
  GrpcCode,
  type GrpcCodeNumber,
  httpStatusOfGrpc,
  KvError,
  type KvErrorOptions,
} from './errors.ts';
