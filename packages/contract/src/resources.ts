/** REST resources by our names; their shapes come from `openapi/gateway.v1.yaml` alone. */
import type { components, operations, paths } from './gen/openapi.ts';

type Schemas = components['schemas'];

export type OpenApiPaths = paths;
export type OpenApiOperations = operations;

export type EntryResource = Schemas['Entry'];
export type KeyPage = Schemas['KeyPage'];
export type PutResource = Schemas['PutResult'];
export type DeleteResource = Schemas['DeleteResult'];
export type TxnRequestResource = Schemas['TxnRequest'];
export type TxnCompareResource = Schemas['TxnCompare'];
export type TxnOpResource = Schemas['TxnOp'];
export type TxnOpResultResource = Schemas['TxnOpResult'];
export type TxnResultResource = Schemas['TxnResult'];
export type BatchRequestResource = Schemas['BatchRequest'];
export type BatchResultResource = Schemas['BatchResult'];
export type LeaseGrantResource = Schemas['LeaseGrant'];
export type LeaseResource = Schemas['Lease'];
export type LeaseList = Schemas['LeaseList'];
export type KeepAliveRequest = Schemas['KeepAliveRequest'];
export type KeptAlive = Schemas['KeptAlive'];
export type KeepAliveResult = Schemas['KeepAliveResult'];
export type InstanceStatus = Schemas['InstanceStatus'];
export type InstanceHealth = Schemas['InstanceHealth'];
export type InstancePut = Schemas['InstancePut'];
export type InstancePatch = Schemas['InstancePatch'];
export type InstanceOverride = Schemas['InstanceOverride'];
export type Instance = Schemas['Instance'];
export type InstanceList = Schemas['InstanceList'];
export type Heartbeat = Schemas['Heartbeat'];
export type ServiceSummary = Schemas['ServiceSummary'];
export type ServiceList = Schemas['ServiceList'];
export type RegistrationResult = Schemas['RegistrationResult'];
export type MemberResource = Schemas['Member'];
export type ClusterState = Schemas['ClusterState'];
export type StatusResource = Schemas['Status'];
export type LoginRequest = Schemas['Login'];
export type LoginResult = Schemas['LoggedIn'];
export type Problem = Schemas['Problem'];

export const INSTANCE_STATUSES = ['starting', 'up', 'draining', 'down', 'maintenance'] as const;
export const INSTANCE_HEALTHS = ['passing', 'warning', 'critical', 'unknown'] as const;
