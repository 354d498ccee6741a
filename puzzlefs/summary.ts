import { type ImageSummary, isRegular, omitUndefined, unlessFailed } from '../src/base/index.ts'
import { FileMaps } from './chunks/file-map.ts'
import { PART_SIZE } from './chunks/part.ts'
import type { PuzzleImage } from './image.ts'
import { attributesOf, decodeInode } from './rootfs/inode.ts'
import type { Rootfs } from './rootfs/rootfs.ts'

/** Inodes of the top layer that are looked at before a mount: what that takes does not grow with the image. */
const SAMPLES = 64

/** What all inodes of an image say of its chunks. */
interface Survey {
  /** Bytes of all files, those of deleted and replaced files as well. */
  dataBytes: number
  /** Pieces of files, and those in compressed chunks. */
  pieces: number
  compressedPieces: number
  hasXattrs: boolean
}

/** What `inspect` tells of an image by its metadata alone. @param size of the rootfs, bytes */
export function summarize(image: PuzzleImage, size: number): ImageSummary {
  const { vectors, chunks } = image.rootfs
  const { dataBytes, pieces, compressedPieces, hasXattrs } = survey(image)
  return {
    kind: 'puzzlefs',
    compressor: compressedPieces > 0 ? 'zstd' : 'none',
    blockSize: PART_SIZE,
    inodes: image.statfs().files,
    ...omitUndefined({ remark: image.remark() }),
    bytesUsed: size,
    hasXattrs,
    metadataLayers: vectors.length,
    chunks: chunks.count,
    dataBytes,
    pieces,
    compressedPieces,
  }
}

/** Whether chunks are compressed, as far as some of the files tell: those that do not become smaller are raw anyway. */
export function seemsCompressed({ message, vectors }: Rootfs): boolean {
  const { inodes } = vectors[0] ?? { inodes: undefined }
  if (inodes === undefined) return false
  const maps = new FileMaps(message, () => {})
  for (let index = 0; index < inodes.count; index += Math.ceil(inodes.count / SAMPLES)) {
    const found = unlessFailed(() => {
      const inode = decodeInode(message, index, message.element(inodes, index))
      return isRegular(inode.mode) && maps.first(inode)?.isCompressed
    })
    if (found === true) return true
  }
  return false
}

function survey({ rootfs }: PuzzleImage): Survey {
  const { message, vectors } = rootfs
  const found: Survey = { dataBytes: 0, pieces: 0, compressedPieces: 0, hasXattrs: false }
  const maps = new FileMaps(message, () => {})
  // Lists that several inodes share can claim more than anybody can count.
  let budget = message.budget
  for (const { inodes, first } of vectors) {
    for (let index = 0; index < inodes.count && budget > 0; index++) {
      unlessFailed(() => {
        const inode = decodeInode(message, first + index, message.element(inodes, index))
        found.hasXattrs ||= attributesOf(message, inode).count > 0
        if (!isRegular(inode.mode)) return
        budget -= inode.list.count
        if (budget < 0) return
        const size = maps.size(inode)
        found.dataBytes += size
        maps.pieces(inode, 0, size, ({ isCompressed }) => {
          found.pieces += 1
          if (isCompressed) found.compressedPieces += 1
        })
      })
    }
  }
  return found
}
