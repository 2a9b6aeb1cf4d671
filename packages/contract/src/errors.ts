/**
 * THE error table: every expected failure, once. Texts and gRPC codes are etcd's (clients match on the exact text);
 * `http` is the status under `/v1`, while `/v3` derives its status from the gRPC code as etcd's gateway does.
 */
export const GrpcCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcCodeNumber = (typeof GrpcCode)[keyof typeof GrpcCode];

/** One row: exact text, gRPC code, `/v1` status, and whether the same request may succeed if sent again. */
export type ErrorRow = {
  readonly text: string;
  readonly grpc: GrpcCodeNumber;
  readonly http: number;
  readonly retryable: boolean;
};

const row = (text: string, grpc: GrpcCodeNumber, http: number, retryable = false): ErrorRow => ({
  text,
  grpc,
  http,
  retryable,
});
const G = GrpcCode;

export const ERRORS = {
  // key-value
  EMPTY_KEY: row('etcdserver: key is not provided', G.INVALID_ARGUMENT, 400),
  KEY_NOT_FOUND: row('etcdserver: key not found', G.INVALID_ARGUMENT, 404),
  VALUE_PROVIDED: row('etcdserver: value is provided', G.INVALID_ARGUMENT, 400),
  LEASE_PROVIDED: row('etcdserver: lease is provided', G.INVALID_ARGUMENT, 400),
  TOO_MANY_OPS: row('etcdserver: too many operations in txn request', G.INVALID_ARGUMENT, 400),
  DUPLICATE_KEY: row('etcdserver: duplicate key given in txn request', G.INVALID_ARGUMENT, 422),
  INVALID_SORT_OPTION: row('etcdserver: invalid sort option', G.INVALID_ARGUMENT, 400),
  COMPACTED: row('etcdserver: mvcc: required revision has been compacted', G.OUT_OF_RANGE, 410),
  FUTURE_REVISION: row('etcdserver: mvcc: required revision is a future revision', G.OUT_OF_RANGE, 400),
  NO_SPACE: row('etcdserver: mvcc: database space exceeded', G.RESOURCE_EXHAUSTED, 507),
  // leases
  LEASE_NOT_FOUND: row('etcdserver: requested lease not found', G.NOT_FOUND, 410),
  LEASE_EXISTS: row('etcdserver: lease already exists', G.FAILED_PRECONDITION, 409),
  LEASE_TTL_TOO_LARGE: row('etcdserver: too large lease TTL', G.OUT_OF_RANGE, 400),
  // cluster
  MEMBER_EXISTS: row('etcdserver: member ID already exist', G.FAILED_PRECONDITION, 409),
  PEER_URL_EXISTS: row('etcdserver: Peer URLs already exists', G.FAILED_PRECONDITION, 409),
  MEMBER_NOT_ENOUGH_STARTED: row(
    'etcdserver: re-configuration failed due to not enough started members',
    G.UNKNOWN,
    409,
  ),
  MEMBER_BAD_URLS: row('etcdserver: given member URLs are invalid', G.INVALID_ARGUMENT, 400),
  MEMBER_NOT_FOUND: row('etcdserver: member not found', G.NOT_FOUND, 404),
  MEMBER_NOT_LEARNER: row('etcdserver: can only promote a learner member', G.FAILED_PRECONDITION, 409),
  LEARNER_NOT_READY: row(
    'etcdserver: can only promote a learner member which is in sync with leader',
    G.FAILED_PRECONDITION,
    409,
  ),
  TOO_MANY_LEARNERS: row('etcdserver: too many learner members in cluster', G.FAILED_PRECONDITION, 409),
  CLUSTER_ID_MISMATCH: row('etcdserver: cluster ID mismatch', G.FAILED_PRECONDITION, 409),
  UNHEALTHY_CLUSTER: row('etcdserver: unhealthy cluster', G.UNAVAILABLE, 503, true),
  // Unavailable as up to etcd 3.5, so that clients ask another member; 3.6 says FAILED_PRECONDITION.
  LEARNER_UNSUPPORTED: row('etcdserver: rpc not supported for learner', G.UNAVAILABLE, 503, true),
  BAD_LEADER_TRANSFEREE: row('etcdserver: bad leader transferee', G.FAILED_PRECONDITION, 409),
  // limits and availability
  REQUEST_TOO_LARGE: row('etcdserver: request is too large', G.INVALID_ARGUMENT, 413),
  TOO_MANY_REQUESTS: row('etcdserver: too many requests', G.UNKNOWN, 429, true),
  NO_LEADER: row('etcdserver: no leader', G.UNAVAILABLE, 503, true),
  NOT_LEADER: row('etcdserver: not leader', G.FAILED_PRECONDITION, 409, true),
  LEADER_CHANGED: row('etcdserver: leader changed', G.UNAVAILABLE, 503, true),
  NOT_CAPABLE: row('etcdserver: not capable', G.FAILED_PRECONDITION, 409),
  STOPPED: row('etcdserver: server stopped', G.UNAVAILABLE, 503, true),
  TIMEOUT: row('etcdserver: request timed out', G.UNAVAILABLE, 503, true),
  TIMEOUT_LEADER_FAILURE: row(
    'etcdserver: request timed out, possibly due to previous leader failure',
    G.UNAVAILABLE,
    503,
    true,
  ),
  TIMEOUT_CONNECTION_LOST: row(
    'etcdserver: request timed out, possibly due to connection lost',
    G.UNAVAILABLE,
    503,
    true,
  ),
  TIMEOUT_LEADER_TRANSFER: row(
    'etcdserver: request timed out, leader transfer took too long',
    G.UNKNOWN,
    504,
    true,
  ),
  CORRUPT: row('etcdserver: corrupt cluster', G.DATA_LOSS, 500),
  WATCH_CANCELED: row('etcdserver: watch canceled', G.CANCELLED, 503, true),
  // authentication
  ROOT_USER_MISSING: row('etcdserver: root user does not exist', G.FAILED_PRECONDITION, 409),
  ROOT_ROLE_MISSING: row('etcdserver: root user does not have root role', G.FAILED_PRECONDITION, 409),
  USER_EXISTS: row('etcdserver: user name already exists', G.FAILED_PRECONDITION, 409),
  USER_EMPTY: row('etcdserver: user name is empty', G.INVALID_ARGUMENT, 401),
  USER_NOT_FOUND: row('etcdserver: user name not found', G.FAILED_PRECONDITION, 404),
  ROLE_EXISTS: row('etcdserver: role name already exists', G.FAILED_PRECONDITION, 409),
  ROLE_NOT_FOUND: row('etcdserver: role name not found', G.FAILED_PRECONDITION, 404),
  ROLE_EMPTY: row('etcdserver: role name is empty', G.INVALID_ARGUMENT, 400),
  AUTH_FAILED: row('etcdserver: authentication failed, invalid user ID or password', G.INVALID_ARGUMENT, 401),
  AUTH_NO_PASSWORD_USER: row(
    'auth: authentication failed, password was given for no password user',
    G.UNKNOWN,
    401,
  ),
  PERMISSION_NOT_GIVEN: row('etcdserver: permission not given', G.INVALID_ARGUMENT, 400),
  PERMISSION_DENIED: row('etcdserver: permission denied', G.PERMISSION_DENIED, 403),
  ROLE_NOT_GRANTED: row('etcdserver: role is not granted to the user', G.FAILED_PRECONDITION, 409),
  PERMISSION_NOT_GRANTED: row(
    'etcdserver: permission is not granted to the role',
    G.FAILED_PRECONDITION,
    409,
  ),
  AUTH_NOT_ENABLED: row('etcdserver: authentication is not enabled', G.FAILED_PRECONDITION, 409),
  INVALID_AUTH_TOKEN: row('etcdserver: invalid auth token', G.UNAUTHENTICATED, 401),
  INVALID_AUTH_MANAGEMENT: row('etcdserver: invalid auth management', G.INVALID_ARGUMENT, 400),
  AUTH_OLD_REVISION: row('etcdserver: revision of auth store is old', G.INVALID_ARGUMENT, 409, true),
  // lock and election services: every error of theirs is code 2 (reference 2.11)
  ELECTION_NO_LEADER: row('election: no leader', G.UNKNOWN, 404),
  ELECTION_NOT_LEADER: row('election: not leader', G.UNKNOWN, 409),
  ELECTION_LEADER_MISSING: row('"leader" field must be provided', G.UNKNOWN, 400),
  SESSION_EXPIRED: row('mutex: session is expired', G.UNKNOWN, 410),
  // downgrade
  DOWNGRADE_BAD_FORMAT: row('etcdserver: wrong downgrade target version format', G.INVALID_ARGUMENT, 400),
  DOWNGRADE_BAD_VERSION: row('etcdserver: invalid downgrade target version', G.INVALID_ARGUMENT, 400),
  DOWNGRADE_IN_PROGRESS: row(
    'etcdserver: cluster has a downgrade job in progress',
    G.FAILED_PRECONDITION,
    409,
  ),
  DOWNGRADE_NONE: row('etcdserver: no inflight downgrade job', G.FAILED_PRECONDITION, 409),
  // watch creation (reasons inside a watch response, not statuses)
  WATCH_DUPLICATE_ID: row('mvcc: duplicate watch ID provided on the WatchStream', G.INVALID_ARGUMENT, 400),
  WATCH_EMPTY_RANGE: row('mvcc: watcher range is empty', G.INVALID_ARGUMENT, 400),
  // Muster's own
  BAD_REQUEST: row('bad request', G.INVALID_ARGUMENT, 400),
  NOT_FOUND: row('not found', G.NOT_FOUND, 404),
  METHOD_NOT_ALLOWED: row('Method Not Allowed', G.UNIMPLEMENTED, 405),
  CONFLICT: row('conflict', G.ABORTED, 409),
  FOREIGN_EPOCH: row('the cursor belongs to another store epoch', G.OUT_OF_RANGE, 410),
  PRECONDITION_FAILED: row('precondition failed', G.FAILED_PRECONDITION, 412),
  PAYLOAD_TOO_LARGE: row('payload too large', G.RESOURCE_EXHAUSTED, 413),
  UNSUPPORTED_MEDIA_TYPE: row('unsupported media type', G.INVALID_ARGUMENT, 415),
  UNPROCESSABLE: row('unprocessable', G.INVALID_ARGUMENT, 422),
  RATE_LIMITED: row('too many requests', G.RESOURCE_EXHAUSTED, 429, true),
  ORIGIN_NOT_ALLOWED: row('origin not allowed', G.PERMISSION_DENIED, 403),
  INSTANCE_EXPIRED: row('instance expired', G.NOT_FOUND, 404),
  NO_INSTANCE: row('no instance', G.UNAVAILABLE, 503, true),
  UNAVAILABLE: row('the cluster cannot be reached', G.UNAVAILABLE, 503, true),
  DISK_FULL: row(
    'etcdserver: the disk is full: writes are refused until space is free again',
    G.RESOURCE_EXHAUSTED,
    507,
    true,
  ),
  DEADLINE: row('context deadline exceeded', G.DEADLINE_EXCEEDED, 504, true),
  CANCELED: row('context canceled', G.CANCELLED, 499),
  UNIMPLEMENTED: row('not implemented', G.UNIMPLEMENTED, 501),
  INTERNAL: row('internal error', G.INTERNAL, 500),
} as const satisfies Record<string, ErrorRow>;

/** The stable name of an error, as sent in problem documents. */
export type ErrorCode = keyof typeof ERRORS;

export type KvErrorOptions = {
  /** What was wrong and what was expected; appended to etcd's text nowhere, shown under `/v1` as `detail`. */
  readonly detail?: string;
  /** Extra members of the problem document, such as `compactRevision` or `current`. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What another server said in words that the table does not have: sent on as it came. */
  readonly remote?: RemoteStatus;
  readonly cause?: unknown;
};

/** gRPC's code and the text of a status. */
type RemoteStatus = { readonly code: number; readonly text: string };

/** An expected failure out of the table. `message` is the table's exact text, or the other server's own. */
export class KvError extends Error {
  override readonly name = 'KvError';
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly extra: Readonly<Record<string, unknown>> | undefined;
  readonly #row: ErrorRow;

  constructor(code: ErrorCode, options: KvErrorOptions = {}) {
    const { remote, cause } = options;
    super(remote?.text ?? ERRORS[code].text, cause === undefined ? undefined : { cause });
    this.code = code;
    this.#row = remote === undefined ? ERRORS[code] : remoteRow(ERRORS[code], remote);
    this.detail = options.detail;
    this.extra = options.extra;
  }

  /** The table's row, with another server's gRPC code and text where it had words of its own. */
  get row(): ErrorRow {
    return this.#row;
  }

  /** Any thrown value as a `KvError`; what is not in the table becomes `INTERNAL` with its cause kept. */
  static from(thrown: unknown): KvError {
    if (thrown instanceof KvError) return thrown;
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    return new KvError('INTERNAL', { detail, cause: thrown });
  }

  /**
   * The first row with exactly this text, for what comes back from another etcd server. Also when it stands behind the
   * status that Go writes before it, as in the reasons of watches that are not allowed.
   */
  static fromText(text: string): KvError | undefined {
    const code = codeByText.get(text.replace(STATUS_BEFORE, ''));
    return code === undefined ? undefined : new KvError(code);
  }
}

function remoteRow(row: ErrorRow, { code, text }: RemoteStatus): ErrorRow {
  const known = code >= GrpcCode.CANCELLED && code <= GrpcCode.UNAUTHENTICATED;
  return { ...row, text, grpc: known ? (code as GrpcCodeNumber) : GrpcCode.UNKNOWN };
}

const STATUS_BEFORE = /^rpc error: code = \w+ desc = /;

const codeByText = new Map<string, ErrorCode>(
  (Object.keys(ERRORS) as ErrorCode[]).reverse().map((code) => [ERRORS[code].text, code]),
);

/**
 * The code of an error out of the lock and election services: etcd answers UNKNOWN to everything but what the caller
 * ended itself, because its services are clients of the store and pass texts on without codes.
 */
export function grpcCodeOfRecipe({ code, row: { grpc } }: KvError): GrpcCodeNumber {
  return code === 'CANCELED' || code === 'DEADLINE' ? grpc : G.UNKNOWN;
}

/** grpc-gateway's HTTP status for a gRPC code (version 1 of the gateway, which etcd 3.4 and 3.5 use). */
export function httpStatusOfGrpc(code: number): number {
  return GRPC_TO_HTTP[code] ?? 500;
}

const GRPC_TO_HTTP: readonly number[] = [
  200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];
