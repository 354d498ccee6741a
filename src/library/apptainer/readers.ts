import { Readable } from 'node:stream'
import { FsError, UsageError } from '../../base/index.ts'
import { pread } from '../../sys/files/file-io.ts'
import { ImageError } from './errors.ts'
import type { Image } from './image.ts'
import type { Section } from './image-json.ts'

/** Bytes that are read at once. */
const PIECE = 1 << 18

/**
 * The bytes of a partition.
 * @param name empty: any
 * @param index in `image.partitions`, from 0; below 0: any
 * @returns ends where the file does; an error of it is an FsError, EBADF once the image is closed
 * @throws ImageError `no-partition` where none has the name; UsageError for an index that is too large, or neither of both
 */
export function newPartitionReader(image: Image, name = '', index = -1): Readable {
  return readerOf(image, image?.partitions, 'partition', name, index)
}

/** As `newPartitionReader`, of the objects of a SIF that are no partitions. @throws ImageError `no-section`; UsageError */
export function newSectionReader(image: Image, name = '', index = -1): Readable {
  return readerOf(image, image?.sections, 'section', name, index)
}

function readerOf(
  image: Image,
  all: readonly Section[] | undefined,
  what: 'partition' | 'section',
  name: string,
  index: number,
): Readable {
  if (all === undefined) throw new UsageError('image is nil')
  if (!image.isOpen) throw new UsageError('image is not open for read')
  if (index >= all.length) throw new UsageError(`index too large, image contains ${all.length} ${what}s`)
  if (name === '' && index < 0) throw new UsageError('no name or positive index provided')
  const section = all.find((one, at) => at === index || (name !== '' && one.name === name))
  if (section === undefined) throw new ImageError(`no-${what}`, `no ${what} found`)
  return Readable.from(pieces(image, section), { objectMode: false })
}

function* pieces(image: Image, { offset, size }: Section): Generator<Buffer> {
  for (let at = 0; at < size; ) {
    // The number of a closed descriptor may be another file by now.
    if (!image.isOpen) throw new FsError('EBADF', `${image.path}: read after it was closed`)
    const piece = Buffer.alloc(Math.min(PIECE, size - at))
    const count = pread(image.fd, offset + at, piece)
    if (count > 0) yield piece.subarray(0, count)
    if (count < piece.length) return
    at += count
  }
}
