/** A place of a compressed stream where decoding can begin. */
export interface Checkpoint {
  /** Byte of the blob at which it goes on. */
  readonly blobAt: number
  /** Byte of the archive that is decoded first. */
  readonly archiveAt: number
  /** As `EntryPoint`. */
  readonly bits: number
  readonly window: Uint8Array
}
