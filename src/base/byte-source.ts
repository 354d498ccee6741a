/**
 * Bytes that can be read by position: a file, a file behind dm-verity, memory in tests. This is the only
 * place where squashfs and verity meet. All calls are synchronous and may block on the disk.
 */
export interface ByteSource {
  /** Readable bytes; positions are 0 ≤ position < size. */
  readonly size: number
  /** For messages: the digest or path of what is read. */
  readonly label: string
  /**
   * Fills the whole of `target` from `position`.
   * @throws FsError EIO when the range lies outside the source, the file ended early, the disk failed, or
   *   the bytes did not verify. `target` then holds no meaningful bytes and must not be used.
   */
  readInto(position: number, target: Uint8Array): void
}
