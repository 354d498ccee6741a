import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { FsError, messageOf, withFsError } from '../base/index.ts'
import { blockDigest, toHex } from './block-digest.ts'
import { roundUp, treeGeometry, treeOffsetAfter } from './geometry.ts'
import { HASH_OFFSET_ALIGNMENT } from './open.ts'
import { encodeVeritySuperblock, type VeritySuperblock } from './superblock.ts'
import { checkParameters, type HashType } from './table.ts'
import { TreeWriter } from './tree-writer.ts'

/** Bytes read at a time. */
const CHUNK_BYTES = 1 << 20

/** How a hash tree is made. */
export interface AppendVerityOptions {
  /** `sha256` by default. */
  readonly algorithm?: string
  /** 0 to 256 bytes; 32 random bytes by default. */
  readonly salt?: Uint8Array
  /** Random by default. */
  readonly uuid?: string
  /** Bytes; 4096 by default. */
  readonly dataBlockSize?: number
  /** Bytes; 4096 by default. */
  readonly hashBlockSize?: number
  /** 1 by default. */
  readonly hashType?: HashType
  /** Bytes of the image, such as squashfs `bytes_used`; the size of the file by default. */
  readonly dataLength?: number
  /** Called about once per MiB, in bytes of data. */
  readonly onProgress?: (done: number, total: number) => void
}

/** What was appended. */
export interface AppendedVerity {
  /** Hex. */
  readonly rootHash: string
  /** Byte position of the superblock. */
  readonly hashOffset: number
  readonly superblock: VeritySuperblock
}

/**
 * Appends a verity superblock and hash tree to a file, as `veritysetup format` with `--hash-offset` does: the
 * image is padded with zeros to 4 KiB, or to its data block size if that is larger, so that all of it is
 * covered. Synchronous; memory does not depend on the size of the file. On failure the file gets its former
 * length back; the superblock is written last, so that a tree cut short by a crash is not taken for one.
 * @param file path, or a descriptor open for reading and writing, which stays open
 * @throws FsError EIO, EINVAL for parameters outside the format; EEXIST where something follows the data
 *   already; otherwise what the system said
 */
export function appendVerityData(file: string | number, options: AppendVerityOptions = {}): AppendedVerity {
  if (typeof file === 'number') return appendTo(file, `file descriptor ${file}`, options)
  const fd = withFsError(file, () => openSync(file, 'r+'))
  try {
    return appendTo(fd, file, options)
  } finally {
    closeSync(fd)
  }
}

function appendTo(fd: number, label: string, options: AppendVerityOptions): AppendedVerity {
  const { algorithm = 'sha256', dataBlockSize = 4096, hashBlockSize = 4096, hashType = 1 } = options
  const { salt = randomBytes(32), uuid = randomUUID() } = options
  const size = withFsError(label, () => fstatSync(fd)).size
  const { dataLength = size } = options
  if (!Number.isSafeInteger(dataLength) || dataLength <= 0 || dataLength > size) {
    throw new FsError('EINVAL', `${label}: data length ${dataLength} in a file of ${size} bytes`)
  }
  const parameters = { hashType, algorithm, dataBlockSize, hashBlockSize, dataBlocks: 1, salt }
  checkParameters(parameters, label)
  const hashOffset = roundUp(dataLength, Math.max(HASH_OFFSET_ALIGNMENT, dataBlockSize))
  if (size > hashOffset) {
    throw new FsError(
      'EEXIST',
      `${label}: ${size - hashOffset} bytes follow the data at byte ${hashOffset} already`,
    )
  }
  const superblock = {
    ...parameters,
    uuid,
    salt: Uint8Array.from(salt),
    dataBlocks: hashOffset / dataBlockSize,
  }
  const bytes = encodeVeritySuperblock(superblock)
  try {
    const rootHash = withFsError(label, () => {
      ftruncateSync(fd, hashOffset)
      const root = writeTree(fd, label, superblock, hashOffset, options.onProgress)
      writeAll(fd, hashOffset, bytes)
      fsyncSync(fd)
      return root
    })
    return { rootHash, hashOffset, superblock }
  } catch (error) {
    try {
      ftruncateSync(fd, size)
    } catch {
      const message = messageOf(error)
      throw new FsError('EIO', `${label}: ${message}; its former length of ${size} bytes is not restored`, {
        cause: error,
      })
    }
    throw error
  }
}

function writeTree(
  fd: number,
  label: string,
  superblock: VeritySuperblock,
  hashOffset: number,
  onProgress: AppendVerityOptions['onProgress'],
): string {
  const { hashType, dataBlockSize, hashBlockSize, salt } = superblock
  const algorithm = checkParameters(superblock, label)
  const geometry = treeGeometry(superblock, algorithm.digestSize, treeOffsetAfter(hashOffset, hashBlockSize))
  const dataDigest = blockDigest(algorithm, hashType, salt, dataBlockSize)
  const hashDigest = blockDigest(algorithm, hashType, salt, hashBlockSize)
  const writer = new TreeWriter(geometry, hashDigest, (position, block) => writeAll(fd, position, block))
  ftruncateSync(fd, geometry.treeEnd)

  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let position = 0; position < geometry.coveredBytes; ) {
    const part = chunk.subarray(0, Math.min(CHUNK_BYTES, geometry.coveredBytes - position))
    readAll(fd, label, position, part)
    for (let at = 0; at < part.byteLength; at += dataBlockSize) {
      writer.add(dataDigest(part.subarray(at, at + dataBlockSize)))
    }
    position += part.byteLength
    onProgress?.(position, geometry.coveredBytes)
  }
  return toHex(writer.finish())
}

function readAll(fd: number, label: string, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) {
    const got = readSync(fd, bytes, done, bytes.byteLength - done, position + done)
    if (got === 0) throw new FsError('EIO', `${label}: ends at byte ${position + done}, shortened meanwhile`)
    done += got
  }
}

function writeAll(fd: number, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done)
  }
}
