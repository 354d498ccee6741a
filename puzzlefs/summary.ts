import { type ImageSummary, isRegular, unlessFailed } from '../src/base/index.ts'
import { FileMaps } from './chunks/file-map.ts'
import { PART_SIZE } from './chunks/part.ts'
import type { PuzzleImage } from './image.ts'
import { attributesOf, decodeInode } from './rootfs/inode.ts'

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
    bytesUsed: size,
    hasXattrs,
    metadataLayers: vectors.length,
    chunks: chunks.count,
    dataBytes,
    pieces,
    compressedPieces,
  }
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
