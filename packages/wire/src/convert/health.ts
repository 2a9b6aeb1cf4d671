import { HealthCheckRequestSchema, HealthCheckResponseSchema } from '../gen/health_pb.js';
import { codecOf } from './codec.ts';

const STATUSES = ['unknown', 'serving', 'notServing', 'serviceUnknown'] as const;

type ServingStatus = (typeof STATUSES)[number];

export const healthCheckRequest = codecOf(
  HealthCheckRequestSchema,
  ({ service }: { readonly service: string }) => ({ service }),
  ({ service }) => ({ service }),
);

export const healthCheckResponse = codecOf(
  HealthCheckResponseSchema,
  ({ status }: { readonly status: ServingStatus }) => ({ status: STATUSES.indexOf(status) }),
  ({ status }): { readonly status: ServingStatus } => ({ status: STATUSES[status] ?? 'unknown' }),
);
