import { ByteReader } from '../base/index.ts'

/**
 * Where the first zstd frame of a block ends (RFC 8878 §3.1.1). The kernel stops there, while the libraries
 * would go on to a further frame or refuse what follows.
 */

const MAGIC = 0xfd2fb528
const DICTIONARY_ID_SIZES = [0, 1, 2, 4]
const BLOCK_RLE = 1
const BLOCK_RESERVED = 3

/**
 * @returns bytes from the start of `input` to the end of its first frame
 * @throws FsError EIO where it is no zstd frame, or ends early
 */
export function zstdFrameLength(input: Uint8Array): number {
  const reader = ByteReader.over(input, 'zstd frame')
  if (reader.remaining < 5 || reader.u32() !== MAGIC) return 0
  const descriptor = reader.u8()
  const singleSegment = (descriptor & 0x20) !== 0
  const sizeFlag = descriptor >> 6
  const contentSizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag
  const dictionaryIdBytes = DICTIONARY_ID_SIZES[descriptor & 3] ?? 0
  reader.skip((singleSegment ? 0 : 1) + dictionaryIdBytes + contentSizeBytes)
  for (let last = false; !last; ) {
    const header = reader.u8() | (reader.u16() << 8)
    const type = (header >> 1) & 3
    if (type === BLOCK_RESERVED) return 0
    reader.skip(type === BLOCK_RLE ? 1 : header >> 3)
    last = (header & 1) !== 0
  }
  if ((descriptor & 4) !== 0) reader.skip(4)
  return input.length - reader.remaining
}
