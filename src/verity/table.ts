import { FsError } from '../base/index.ts'
import { algorithmNames, findAlgorithm, type HashAlgorithm } from './algorithm.ts'

/** 0: Chromium OS, block ‖ salt, digests packed. 1: salt ‖ block, digests padded to a power of two. */
export type HashType = 0 | 1

/** Bytes of the smallest block that is hashed: a sector. */
export const MIN_BLOCK_SIZE = 512
/** The largest page of any machine that builds images; veritysetup allows more, the kernel does not map it. */
export const MAX_BLOCK_SIZE = 65536
/**
 * Bytes, the room in the superblock. It also keeps block and salt apart: sizes of blocks differ by 512 or more,
 * so no forged pair of them makes another split of the same hashed bytes.
 */
export const MAX_SALT_SIZE = 256

/** What must be known to compute a root hash: the superblock's fields, or given by hand where there is none. */
export interface VerityParameters {
  readonly hashType: HashType
  /** Name of the hash function, see `findAlgorithm`. */
  readonly algorithm: string
  /** Bytes, a power of two. */
  readonly dataBlockSize: number
  /** Bytes, a power of two. */
  readonly hashBlockSize: number
  /** Number of data blocks that the tree covers. */
  readonly dataBlocks: number
  readonly salt: Uint8Array
}

/**
 * Everything needed to verify one image: the parameters of a device-mapper `verity` table. Plain data, so that
 * every thread can make its own `VerifiedSource` from one table (it survives a structured clone).
 */
export interface VerityTable extends VerityParameters {
  /** Byte position of the root block of the tree; a multiple of `hashBlockSize`. */
  readonly treeOffset: number
  /** Hex. The only trusted value. */
  readonly rootHash: string
}

/**
 * Checks every value against the limits of the format.
 * @param what named in messages
 * @returns the hash function
 * @throws FsError EIO
 */
export function checkParameters(parameters: VerityParameters, what: string): HashAlgorithm {
  const { hashType, algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt } = parameters
  if (hashType !== 0 && hashType !== 1) throw new FsError('EIO', `${what}: hash type ${hashType}, not 0 or 1`)
  const found = findAlgorithm(algorithm)
  if (found === undefined) {
    const known = algorithmNames().join(', ')
    throw new FsError('EIO', `${what}: hash algorithm ${JSON.stringify(algorithm)} is none of ${known}`)
  }
  checkBlockSize(dataBlockSize, `${what}: data block size`)
  checkBlockSize(hashBlockSize, `${what}: hash block size`)
  if (!Number.isSafeInteger(dataBlocks) || dataBlocks <= 0) {
    throw new FsError('EIO', `${what}: ${dataBlocks} data blocks`)
  }
  if (!Number.isSafeInteger(dataBlocks * dataBlockSize)) {
    throw new FsError('EIO', `${what}: ${dataBlocks} data blocks of ${dataBlockSize} bytes exceed 2^53 bytes`)
  }
  if (salt.byteLength > MAX_SALT_SIZE) {
    throw new FsError('EIO', `${what}: salt of ${salt.byteLength} bytes, at most ${MAX_SALT_SIZE}`)
  }
  return found
}

/**
 * The root hash as a binary string (see `BlockDigest`).
 * @throws FsError EINVAL where it is not hex; EIO where its length is not that of the algorithm
 */
export function parseRootHash(hex: string, algorithm: HashAlgorithm, what: string): string {
  if (!/^(?:[0-9a-f]{2})+$/i.test(hex)) {
    throw new FsError('EINVAL', `${what}: root hash ${JSON.stringify(hex.slice(0, 200))} is not hexadecimal`)
  }
  if (hex.length !== algorithm.digestSize * 2) {
    const got = hex.length / 2
    throw new FsError(
      'EIO',
      `${what}: the root hash has ${got} bytes, ${algorithm.name} of the superblock has ${algorithm.digestSize}`,
    )
  }
  return Buffer.from(hex, 'hex').toString('latin1')
}

function checkBlockSize(size: number, what: string): void {
  const legal = Number.isInteger(size) && size >= MIN_BLOCK_SIZE && size <= MAX_BLOCK_SIZE
  if (!legal || (size & (size - 1)) !== 0) {
    throw new FsError('EIO', `${what} ${size} is no power of two in ${MIN_BLOCK_SIZE}..${MAX_BLOCK_SIZE}`)
  }
}
