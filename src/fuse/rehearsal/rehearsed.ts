/** What serves a mount, as a rehearsal sees it. */
export interface Rehearsed {
  /** Put the next request here. */
  readonly requestBytes: Buffer
  /**
   * Handles the request of `length` bytes. It is never INIT.
   * @returns its reply, which the next request overwrites; undefined where it has none
   */
  ask(length: number): Buffer | undefined
  /** The last request failed for want of bytes that another thread is reading: it can be asked again. */
  readonly isWaiting: boolean
}
