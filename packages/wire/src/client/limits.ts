/** Every bound of the client of a remote cluster. */
export const CLIENT_LIMITS = {
  /** How long a call without a nearer deadline waits for a connection. */
  dialTimeoutMs: 5_000,
  /** Pings on connections with calls in progress; servers refuse more than one in 5 s. */
  keepaliveTimeMs: 10_000,
  keepaliveTimeoutMs: 6_000,
  reconnectFirstMs: 100,
  reconnectMaxMs: 3_000,
  /** An endpoint that failed a call is passed over, while there are others, for this long and growing. */
  coolDownFirstMs: 200,
  coolDownMaxMs: 5_000,
  /** etcd's own client: up to 100 tries, a pause once per round over a quorum of the endpoints. */
  triesMax: 100,
  retryPauseMs: 25,
  /** A fresh token may not have reached the member that is asked next: a few new ones are tried. */
  authTriesMax: 5,
  /** After credentials were refused, nobody asks again for so long: every call would cost the servers a password check. */
  loginPauseMs: 1_000,
  /** Watches that share one stream, and creations on it that wait for their answers. */
  watchesPerStream: 512,
  watchCreatesInFlight: 64,
  /** Held for a sink that is full; beyond it the watch is taken off its stream and comes back by revision. */
  heldResponses: 64,
  heldBytes: 1024 * 1024,
  watchReopenFirstMs: 50,
  watchReopenMaxMs: 2_000,
  /** Servers drop requests for progress while a watcher lags: asked again after this. */
  progressRetryMs: 200,
  /** Where the server's answers about progress cannot be trusted: nothing came for this long. */
  progressQuietMs: 1_000,
  /** A keepalive stream without requests is closed. */
  keepAliveIdleMs: 60_000,
  keepAliveReopenMs: 100,
  /** Keepalives that wait for their answers, over one stream. */
  keepAlivesInFlight: 50_000,
  /** Credentials of callers that have streams of their own at the same time. */
  streamGroups: 10_000,
} as const;
