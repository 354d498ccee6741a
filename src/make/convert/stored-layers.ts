import { createReadStream } from 'node:fs'
import {
  type ImageFile,
  isImageFile,
  type NamedSource,
  type PathText,
  printable,
  systemPath,
  withSource,
} from '../../base/index.ts'
import { closeImage, openImage, rawSource } from '../../molecule/image-file.ts'
import { filesOf, type ImageSpec } from '../../molecule/index.ts'
import { lockedImages } from '../../molecule/source.ts'
import type { SquashfsLayer } from './source-image.ts'

const READ_AHEAD = 1 << 20
/** Images are filled up to a multiple of it. */
const PADDING = 4096

/**
 * The images in a SIF file, or an encrypted one, which become layers as they are.
 * @returns undefined for any other file, and where one of them is no squashfs image
 * @throws FsError as a mount
 */
export function storedLayers(source: NamedSource, name: PathText): readonly SquashfsLayer[] | undefined {
  if (source.container !== 'sif' && lockedImages(source).length === 0) return undefined
  const images = filesOf({ source, name }).layers.filter(isImageFile)
  const layers = images.map(storedLayer)
  return layers.every((layer) => layer !== undefined) ? layers : undefined
}

function storedLayer(file: ImageFile): SquashfsLayer | undefined {
  const spec = openImage(file)
  try {
    if (spec.kind !== 'squashfs') return undefined
    const label = printable(file.label)
    if (isEncrypted(spec)) {
      return { form: 'squashfs', label, size: decryptedSize(spec), open: () => decrypted(file) }
    }
    const { path, offset = 0, length = 0 } = file
    const end = offset + length - 1
    const open = (): AsyncIterable<Uint8Array> =>
      createReadStream(systemPath(path), { start: offset, end, highWaterMark: READ_AHEAD })
    return { form: 'squashfs', label, size: length, open }
  } finally {
    closeImage(spec)
  }
}

/** Whether the bytes of the file are not those of the image. */
export function isEncrypted({ transforms }: ImageSpec): boolean {
  return transforms.some(({ kind }) => kind === 'luks' || kind === 'gocryptfs')
}

/** What is decrypted may go on behind the image. */
function decryptedSize(spec: ImageSpec): number {
  const filled = Math.ceil(spec.facts.bytesUsed / PADDING) * PADDING
  return withSource(rawSource(spec), ({ size }) => Math.min(size, filled))
}

/** The bytes of an encrypted image. */
export async function* decrypted(file: ImageFile): AsyncGenerator<Uint8Array> {
  const spec = openImage(file)
  const source = rawSource(spec)
  try {
    const size = decryptedSize(spec)
    for (let at = 0; at < size; at += READ_AHEAD) {
      const bytes = new Uint8Array(Math.min(READ_AHEAD, size - at))
      source.readInto(at, bytes)
      yield bytes
    }
  } finally {
    source.close?.()
    closeImage(spec)
  }
}
