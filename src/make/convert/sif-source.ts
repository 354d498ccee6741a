import { createReadStream } from 'node:fs'
import {
  type ImageFile,
  isImageFile,
  type NamedSource,
  type PathText,
  printable,
  systemPath,
} from '../../base/index.ts'
import { closeImage, openImage } from '../../molecule/image-file.ts'
import { filesOf } from '../../molecule/index.ts'
import type { SquashfsLayer } from './source-image.ts'

const READ_AHEAD = 1 << 20

/**
 * The images in a SIF file, which become layers as they are.
 * @returns undefined for any other file, and where one of them is no squashfs image
 * @throws FsError as a mount
 */
export function storedLayers(source: NamedSource, name: PathText): readonly SquashfsLayer[] | undefined {
  if (source.container !== 'sif') return undefined
  const images = filesOf({ source, name }).layers.filter(isImageFile)
  return images.every((image) => kindOf(image) === 'squashfs') ? images.map(storedLayer) : undefined
}

function kindOf(image: ImageFile): string {
  const spec = openImage(image)
  closeImage(spec)
  return spec.kind
}

function storedLayer({ label, path, offset = 0, length = 0 }: ImageFile): SquashfsLayer {
  const end = offset + length - 1
  const open = (): AsyncIterable<Uint8Array> =>
    createReadStream(systemPath(path), { start: offset, end, highWaterMark: READ_AHEAD })
  return { form: 'squashfs', label: printable(label), size: length, open }
}
