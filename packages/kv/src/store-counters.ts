/** What a store has done since it was opened, in etcd's terms. Kept by whoever does it; nothing depends on it. */
export class StoreCounters {
  /** Of single keys, within transactions too. */
  puts = 0;
  deletes = 0;
  /** Reads of keys or ranges, within transactions too. */
  ranges = 0;
  txns = 0;
  /** Bytes of keys and values put. */
  putBytes = 0;
  /** Records that compactions removed. */
  compactedRecords = 0;
  leasesGranted = 0;
  leasesRevoked = 0;
}
