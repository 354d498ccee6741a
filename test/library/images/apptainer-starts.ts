import fs from 'node:fs'
import path from 'node:path'
import { FsError, type Image, initImage, UsageError } from '../../../src/index.ts'
import { makeTempDir, removeTempDir } from '../programs/temp.ts'
import { SIF_TYPE, type SifPart } from './sif.ts'

/** Starts of images, as far as Apptainer's package `image` looks at them. */

/** The launch line of Apptainer. */
export const LINE = '#!/usr/bin/env run-singularity\n'

/** The start of a squashfs image. */
export function squashfsStart({ compressor = 1, major = 4, size = 4096 } = {}): Buffer {
  const bytes = Buffer.alloc(size, 'x')
  bytes.write('hsqs')
  bytes.writeUInt16LE(compressor, 20)
  bytes.writeUInt16LE(major, 28)
  return bytes
}

/** The start of an ext file system: features as `mke2fs -t ext3` sets them. */
export function extStart({
  compatible = 0x3c,
  incompatible = 0x2,
  readOnly = 0x3,
  size = 4096,
} = {}): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUInt16LE(0xef53, 1080)
  bytes.writeUInt32LE(compatible, 1116)
  bytes.writeUInt32LE(incompatible, 1120)
  bytes.writeUInt32LE(readOnly, 1124)
  return bytes
}

/** The same content behind a launch line. */
export const behindLine = (image: Buffer): Buffer => Buffer.concat([Buffer.from(LINE), image])

/** A partition of a SIF. */
export const partOf = (
  data: Buffer,
  fileSystem: number,
  use: number,
  more: Partial<SifPart> = {},
): SifPart => ({
  ...{ type: SIF_TYPE.partition, data, partition: [fileSystem, use, '02'] as const },
  ...more,
})

/** A folder with image files. */
export class ImageFolder {
  readonly path = fs.realpathSync(makeTempDir())
  #count = 0

  /** @returns the path of a new file */
  file(bytes: Uint8Array, mode = 0o644): string {
    const name = path.join(this.path, `image-${++this.#count}`)
    fs.writeFileSync(name, bytes, { mode })
    return name
  }

  remove(): void {
    removeTempDir(this.path)
  }
}

/** Opens an image for the time of `use`. */
export function usingImage<T>(name: string, use: (image: Image) => T, writable = false): T {
  const image = initImage(name, writable)
  try {
    return use(image)
  } finally {
    image.close()
  }
}

/** What an action throws, which must be an error of this program. */
export function errorOf(action: () => unknown): FsError | UsageError {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError || error instanceof UsageError) return error
    throw error
  }
  throw new Error('no error')
}
