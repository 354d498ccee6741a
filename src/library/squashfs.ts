/**
 * Reads squashfs images without a mount, and makes them.
 * @module atomfs-fuse/squashfs
 */

import { complaintOf, FsError, omitUndefined, type PathText } from '../base/index.ts'
import { kindNamed } from '../kinds/kinds.ts'
import { closeImage, imageSource, openImage } from '../molecule/image-file.ts'
import { ImageReader } from './image/image-reader.ts'

export * from '../../squashfs/index.ts'
export {
  FileOutput,
  type NewEntry,
  SquashfsWriter,
  type WriterOptions,
  type WrittenImage,
} from '../../squashfs/write/index.ts'
export {
  type BlockReader,
  type BlockRef,
  type ByteSource,
  DamageError,
  type ExtentSink,
  FsError,
  type PathText,
  type Stat,
} from '../base/index.ts'
export { ExcludePaths } from '../make/selection/exclude-paths.ts'
export type {
  EntriesOptions,
  FileType,
  ImageEntry,
  ImageReader,
  PathOptions,
  ReadStreamOptions,
} from './image/image-reader.ts'
export { type ExtractHow, type ExtractSingleOptions, extractSingleSquash } from './making/extract-single.ts'
export { type MadeSquashfs, type MakeSquashfsOptions, makeSquashfs } from './making/make-squashfs.ts'

/** What is known of the file of an image beside its path. */
export interface OpenSquashfsOptions {
  /** Byte of the file at which the image begins; 0 by default. */
  readonly offset?: number
  /** dm-verity root hash, hex. With one, every byte that is read is verified first. */
  readonly rootHash?: string
}

/**
 * Opens a squashfs image, a file or a block device, for reading without a mount. Needs no privilege. `close` ends it.
 * @throws FsError ENOENT where there is no file; EINVAL for what is no squashfs image, for a root hash that is none and
 *   for an offset that is no number of bytes; EIO for damage, for what does not match the root hash, and where the file cannot be opened; EOPNOTSUPP where no
 *   decoder of its compressor is there
 */
export function openSquashfs(path: PathText, options: OpenSquashfsOptions = {}): ImageReader {
  const { offset, rootHash } = options
  const complaint =
    complaintOf('the path', path) ?? (rootHash !== undefined && complaintOf('rootHash', rootHash))
  if (complaint) throw new FsError('EINVAL', complaint)
  if (offset !== undefined && !(Number.isSafeInteger(offset) && offset >= 0)) {
    throw new FsError('EINVAL', `offset ${offset} is no number of bytes`)
  }
  const image = openImage({
    label: path,
    path,
    kind: 'squashfs',
    ...omitUndefined({ offset, rootHash }),
  })
  const source = imageSource(image)
  const close = (): void => {
    source.close?.()
    closeImage(image)
  }
  try {
    const { detail, blockSize } = image.facts
    const session = kindNamed(image.kind).open({ details: [detail] })
    const part = { source, sourceId: 0, label: path, detail }
    return new ImageReader({
      layer: session.openLayer(part),
      blocks: session.openBlocks(part),
      blockSize,
      close,
    })
  } catch (error) {
    close()
    throw error
  }
}
