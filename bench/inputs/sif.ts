import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { mke2fs } from '../../test/library/images/ext.ts'
import { mksquashfs } from '../../test/library/images/images.ts'
import { makeSif, SIF_TYPE } from '../../test/library/images/sif.ts'
import { splitIntoLayers } from './layers.ts'

/** Where the partitions of a SIF lie, bytes. */
export interface SifPlaces {
  readonly squashfs: number
  /** Absent: it has no overlay. */
  readonly ext3?: number
}

/** Partitions are put at multiples of this. */
const ALIGNMENT = 4096
const MIB = 2 ** 20
const PIECE = 16 * MIB

/** A squashfs image of a tree and one more file of random bytes, and a SIF that holds it. @param bytes of that file */
export async function buildLargeSif(tree: string, place: string, bytes: number): Promise<SifPlaces> {
  mkdirSync(place)
  const count = Math.ceil(bytes / MIB)
  const large = `large f 644 0 0 head -c ${count}M /dev/urandom`
  // What cannot be compressed is stored as it is at every level.
  const extra = ['-no-xattrs', '-p', large, '-Xcompression-level', '1']
  const squashfs = await mksquashfs(tree, join(place, 'squashfs'), {
    compressor: 'zstd',
    timeout: 900_000,
    extra,
  })
  return writeSif(join(place, 'sif'), squashfs)
}

/** A tree as a SIF: most of it in the primary partition, the rest in an ext3 overlay above it, with deletions. */
export async function buildOverlaySif(tree: string, place: string): Promise<SifPlaces> {
  mkdirSync(place)
  const [low = '', high = ''] = await splitIntoLayers(tree, join(place, 'work'), 2)
  const squashfs = await mksquashfs(low, join(place, 'squashfs'), { compressor: 'zstd', timeout: 900_000 })
  const overlay = join(place, 'work', 'overlay')
  mkdirSync(join(overlay, 'work'), { recursive: true })
  renameSync(high, join(overlay, 'upper'))
  const ext3 = await mke2fs(join(place, 'ext3'), {
    options: '-t ext3 -b 4096',
    // Blocks of 4 KiB, a journal, and tables of inodes for files that are small.
    megabytes: Math.max(64, Math.ceil((statSync(squashfs).size * 6) / MIB)),
    from: overlay,
  })
  return writeSif(join(place, 'sif'), squashfs, ext3)
}

function writeSif(file: string, squashfs: string, ext3?: string): SifPlaces {
  const images = ext3 === undefined ? [squashfs] : [squashfs, ext3]
  const empty = makeSif({ parts: [] })
  let end = empty.length
  const places = images.map((image) => {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT
    const { size } = statSync(image)
    end = offset + size
    return { offset, size }
  })
  const parts = places.map((place, i) => ({
    ...{ type: SIF_TYPE.partition, data: Buffer.alloc(0), ...place },
    partition: i === 0 ? ([1, 2, '02'] as const) : ([2, 4, '02'] as const),
  }))
  writeFileSync(file, makeSif({ parts }).subarray(0, empty.length))
  for (const [i, image] of images.entries()) {
    const { offset = 0 } = places[i] ?? {}
    appendFileSync(file, Buffer.alloc(offset - statSync(file).size))
    appendImage(file, image)
  }
  const [first, second] = places
  return { squashfs: first?.offset ?? 0, ...(second === undefined ? {} : { ext3: second.offset }) }
}

function appendImage(file: string, image: string): void {
  const fd = openSync(image, 'r')
  try {
    const piece = Buffer.alloc(PIECE)
    for (let count = readSync(fd, piece); count > 0; count = readSync(fd, piece)) {
      appendFileSync(file, piece.subarray(0, count))
    }
  } finally {
    closeSync(fd)
  }
}
