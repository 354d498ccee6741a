/** The first copy of the header lies at byte 0 (LUKS2 On-Disk Format, 2.1). */
export type HeaderCopy = 'primary' | 'secondary'

const MAGIC: Readonly<Record<HeaderCopy, Buffer>> = {
  primary: Buffer.from('LUKS\xba\xbe', 'latin1'),
  secondary: Buffer.from('SKUL\xba\xbe', 'latin1'),
}

/** Bytes of both copies of the header; the second one begins where the first one ends. No others are allowed. */
export const HEADER_SIZES: readonly number[] = [14, 15, 16, 17, 18, 19, 20, 21, 22].map((power) => 2 ** power)

/** Whether these bytes begin a copy of the header, of any version. */
export function isHeaderMagic(head: Uint8Array, copy: HeaderCopy): boolean {
  return MAGIC[copy].every((byte, at) => head[at] === byte)
}

/**
 * Whether a second copy of a header lies where one can.
 * @param read fills the target from a byte of the image; false where that ends before
 */
export function hasSecondCopy(read: (position: number, target: Uint8Array) => boolean): boolean {
  const head = new Uint8Array(MAGIC.secondary.length)
  return HEADER_SIZES.some((position) => read(position, head) && isHeaderMagic(head, 'secondary'))
}
