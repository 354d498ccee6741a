/** Decoded bytes of a metadata block, at most. */
export const METADATA_SIZE = 8192

/** Two bytes of header and at least one of content. */
const SMALLEST_STORED_METADATA = 3

/** Most decoded bytes that `stored` bytes of consecutive metadata blocks can hold. */
export function metadataCapacity(stored: number): number {
  return Math.ceil(stored / SMALLEST_STORED_METADATA) * METADATA_SIZE
}

/** Bytes of a stored reference. */
export const REFERENCE_SIZE = 8

/** Where a record begins: a metadata block, relative to its table, and the offset in the decoded block. */
export interface MetadataReference {
  readonly block: number
  readonly offset: number
}

/** The reference as one number: what `Layer` calls a ref, for inodes. */
export function refOf(block: number, offset: number): number {
  return block * METADATA_SIZE + offset
}

/** Where the metadata block of a reference begins, bytes from the start of its table. */
export function blockOf(ref: number): number {
  return Math.floor(ref / METADATA_SIZE)
}

/** Where the record of a reference begins, bytes from the start of the decoded block. */
export function offsetOf(ref: number): number {
  return ref % METADATA_SIZE
}

/** For messages. */
export function describeRef(ref: number): string {
  return `${blockOf(ref)}:${offsetOf(ref)}`
}

/** A stored u64. Beyond 2^53 it is not exact: the caller compares it with a bound below that. */
export function u64At(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
}

/** A stored reference: the offset in the low 16 bits, the block above. */
export function referenceAt(view: DataView, at: number): MetadataReference {
  return {
    block: view.getUint32(at + 2, true) + view.getUint16(at + 6, true) * 2 ** 32,
    offset: view.getUint16(at, true),
  }
}
