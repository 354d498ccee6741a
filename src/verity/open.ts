import { type ByteSource, DamageError, FsError } from '../base/index.ts'
import type { VerityFailure } from './failure.ts'
import { roundUp, treeGeometry, treeOffsetAfter } from './geometry.ts'
import {
  decodeVeritySuperblock,
  hasVeritySignature,
  VERITY_SUPERBLOCK_SIZE,
  type VeritySuperblock,
} from './superblock.ts'
import {
  checkParameters,
  MAX_BLOCK_SIZE,
  parseRootHash,
  type VerityParameters,
  type VerityTable,
} from './table.ts'
import { tailHint, VerifiedSource } from './verified-source.ts'

/** atomfs and stacker put the superblock at squashfs `bytes_used` rounded up to this, whatever the page size. */
export const HASH_OFFSET_ALIGNMENT = 4096

/** Reads the number of bytes that an image claims to use from its own header, such as squashfs `bytes_used`. */
export type DataLengthReader = (source: ByteSource) => number

/** An image, its hash tree and what is trusted of it. */
export interface OpenVerityOptions {
  /** The image as it lies on disk. */
  readonly source: ByteSource
  /** Where superblock and tree are, if not behind the data in the same file. */
  readonly hashSource?: ByteSource
  /** Byte position of the superblock, or of the tree where `parameters` are given. Searched for by default. */
  readonly hashOffset?: number
  /** Hex. From the manifest or the user: the only trusted input. */
  readonly rootHash: string
  /** Given where there is no superblock (`veritysetup --no-superblock`). */
  readonly parameters?: VerityParameters
  /**
   * Bytes of the image that must be covered. This value comes from the image and decides where the superblock
   * is looked for, before anything is verified. Give a function, and it is called a second time on the
   * verified source; a different answer is refused. A caller that gives a number must do that check itself.
   */
  readonly dataLength: number | DataLengthReader
  /** Most bytes of verified hash blocks to keep. */
  readonly cacheBytes?: number
  /** Told of each block that does not match. */
  readonly onFailure?: (failure: VerityFailure) => void
}

/** A verity superblock and its place. */
export interface FoundSuperblock {
  /** Byte position of the superblock. */
  readonly hashOffset: number
  readonly superblock: VeritySuperblock
}

/**
 * Looks for a superblock behind the data: at the next 4 KiB, and then at the next multiple of each larger
 * block size, where builders that pad to their own block size put it.
 * @returns undefined where there is none
 * @throws DamageError where there is one and it is damaged
 */
export function findVeritySuperblock(source: ByteSource, dataLength: number): FoundSuperblock | undefined {
  checkDataLength(source, dataLength)
  let previous = -1
  for (let unit = HASH_OFFSET_ALIGNMENT; unit <= MAX_BLOCK_SIZE; unit *= 2) {
    const hashOffset = roundUp(dataLength, unit)
    if (hashOffset === previous) continue
    previous = hashOffset
    if (hashOffset > source.size - VERITY_SUPERBLOCK_SIZE) return undefined
    const bytes = new Uint8Array(VERITY_SUPERBLOCK_SIZE)
    source.readInto(hashOffset, bytes)
    if (hasVeritySignature(bytes)) {
      return { hashOffset, superblock: decodeIn(source, hashOffset, bytes) }
    }
  }
  return undefined
}

/**
 * Opens an image for verified reading. The top of the tree is compared with the root hash at once: a wrong
 * root hash, or a forged salt, algorithm or hash block size, fails here. Other forged fields lead to wrong
 * hashes or positions when blocks are read, and fail then.
 * @throws FsError EINVAL for a root hash that is not hex, EIO for one that is of another length than the hashes of the
 *   tree; DamageError where there is no superblock or a damaged one, the tree does not fit into its file or does not
 *   cover `dataLength`, or the root hash does not match
 */
export function openVerity(options: OpenVerityOptions): VerifiedSource {
  const { source, hashSource = source, rootHash } = options
  const dataLength = typeof options.dataLength === 'number' ? options.dataLength : options.dataLength(source)
  checkDataLength(source, dataLength)
  const { hashOffset, ...tree } = locateTree(options, hashSource, dataLength)
  const table = { ...tree, rootHash: rootHash.toLowerCase() }
  checkTable(table, source, hashSource, dataLength)
  if (hashSource === source && table.dataBlocks * table.dataBlockSize > hashOffset) {
    throw new DamageError(
      source.label,
      hashOffset,
      `layer ${source.label}: verity data at byte ${hashOffset} lies inside the data it covers ` +
        `(${table.dataBlocks} blocks of ${table.dataBlockSize})`,
    )
  }

  const verified = new VerifiedSource({ ...options, table })
  verified.verifyRoot()
  if (typeof options.dataLength !== 'number') {
    const proven = options.dataLength(verified)
    if (proven !== dataLength) {
      throw new DamageError(
        source.label,
        0,
        `layer ${source.label}: the image said ${dataLength} bytes used, its verified bytes say ${proven}`,
      )
    }
  }
  return verified
}

/** `hashOffset` is where the first byte of verity data is: the superblock, or the tree where there is none. */
type LocatedTree = VerityParameters & { readonly hashOffset: number; readonly treeOffset: number }

function locateTree(options: OpenVerityOptions, hashSource: ByteSource, dataLength: number): LocatedTree {
  const { hashOffset, parameters } = options
  if (parameters !== undefined) {
    if (hashOffset === undefined) {
      throw new FsError(
        'EINVAL',
        `layer ${hashSource.label}: verity parameters without the offset of the hash tree`,
      )
    }
    return { ...parameters, hashOffset, treeOffset: hashOffset }
  }
  const found =
    hashOffset === undefined
      ? findVeritySuperblock(hashSource, dataLength)
      : { hashOffset, superblock: readSuperblock(hashSource, hashOffset) }
  if (found === undefined) {
    const at = roundUp(dataLength, HASH_OFFSET_ALIGNMENT)
    throw new DamageError(
      hashSource.label,
      at,
      `layer ${hashSource.label}: a root hash is given, but there is no verity superblock at byte ${at}`,
    )
  }
  // The UUID names the tree for people and is left out: nothing proves it.
  const { uuid: _, ...parameterFields } = found.superblock
  const treeOffset = treeOffsetAfter(found.hashOffset, parameterFields.hashBlockSize)
  return { ...parameterFields, hashOffset: found.hashOffset, treeOffset }
}

function readSuperblock(source: ByteSource, hashOffset: number): VeritySuperblock {
  const what = superblockName(source, hashOffset)
  // veritysetup places superblocks at whole sectors only.
  if (!Number.isSafeInteger(hashOffset) || hashOffset < 0 || hashOffset % VERITY_SUPERBLOCK_SIZE !== 0) {
    throw new FsError('EINVAL', `${what}: the hash offset must be a multiple of ${VERITY_SUPERBLOCK_SIZE}`)
  }
  if (hashOffset > source.size - VERITY_SUPERBLOCK_SIZE) {
    throw new DamageError(source.label, hashOffset, `${what}: lies outside the file of ${source.size} bytes`)
  }
  const bytes = new Uint8Array(VERITY_SUPERBLOCK_SIZE)
  source.readInto(hashOffset, bytes)
  return decodeIn(source, hashOffset, bytes)
}

/** What can be known without hashing. */
function checkTable(
  table: VerityTable,
  source: ByteSource,
  hashSource: ByteSource,
  dataLength: number,
): void {
  const what = `layer ${source.label}`
  const algorithm = checkParameters(table, `${what}: verity parameters`)
  parseRootHash(table.rootHash, algorithm, what)
  const { coveredBytes, treeEnd } = treeGeometry(table, algorithm.digestSize, table.treeOffset)
  if (coveredBytes < dataLength) {
    throw new DamageError(
      source.label,
      table.treeOffset,
      `${what}: the hash tree covers ${coveredBytes} bytes (${table.dataBlocks} blocks of ${table.dataBlockSize}), ` +
        `the image uses ${dataLength}; ${tailHint(table.dataBlockSize)}`,
    )
  }
  if (coveredBytes > source.size) {
    throw new DamageError(
      source.label,
      table.treeOffset,
      `${what}: the hash tree covers ${coveredBytes} bytes, the file has ${source.size}`,
    )
  }
  if (treeEnd > hashSource.size) {
    throw new DamageError(
      source.label,
      table.treeOffset,
      `${what}: the hash tree ends at byte ${treeEnd}, the file has ${hashSource.size}`,
    )
  }
}

function checkDataLength(source: ByteSource, dataLength: number): void {
  if (!Number.isSafeInteger(dataLength) || dataLength < 0) {
    throw new FsError('EIO', `layer ${source.label}: data length ${dataLength}`)
  }
}

/** @throws DamageError */
function decodeIn(source: ByteSource, hashOffset: number, bytes: Uint8Array): VeritySuperblock {
  try {
    return decodeVeritySuperblock(bytes, superblockName(source, hashOffset))
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    throw new DamageError(source.label, hashOffset, error.message, { cause: error })
  }
}

function superblockName(source: ByteSource, hashOffset: number): string {
  return `layer ${source.label}: verity superblock at byte ${hashOffset}`
}
