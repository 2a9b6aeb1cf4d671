export {
  createGateway,
  type Gateway,
  type GatewayLog,
  type GatewayOptions,
  type StaticFile,
} from './gateway.ts';
export { DEFAULT_LIMITS, type GatewayLimits, gatewayLimits } from './limits.ts';
export type { GrpcMethod } from './ops/grpc-methods.ts';
export type { HistogramName, SampledName } from './ops/metric-names.ts';
export {
  createMetrics,
  Metrics,
  type MetricsIdentity,
  type MetricsSource,
} from './ops/metrics.ts';
export type { VersionInfo } from './ops/routes.ts';
export { createV1, type SocketRoute, type V1, type V1Deps, type V1Log } from './v1/index.ts';
