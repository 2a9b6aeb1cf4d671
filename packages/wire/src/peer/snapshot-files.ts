/**
 * Snapshot images as the transport needs them: something to read from, and something to write to that becomes a
 * snapshot only when it is whole.
 */
export interface SnapshotFiles {
  /** Opens a stored image and keeps it from being pruned until it is closed. Rejects when there is none. */
  openRead(name: string): Promise<SnapshotSource>;
  /**
   * A place for an image that comes in. Nothing shows under `name` before `finish` has checked the image's own
   * checksums and synced it; leftovers of a crash are removed at the next start.
   */
  receive(name: string, size: number): Promise<SnapshotSink>;
}

export interface SnapshotSource {
  /** Bytes in all. */
  readonly size: number;
  /** The next bytes, at most `maxBytes`; empty at the end. */
  read(maxBytes: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface SnapshotSink {
  /** One at a time; the chunk is the sink's only until the promise settles. */
  write(chunk: Uint8Array): Promise<void>;
  /** Rejects, and leaves nothing behind, when the image is not whole. */
  finish(): Promise<void>;
  /** Leaves nothing behind. */
  abort(): Promise<void>;
}
