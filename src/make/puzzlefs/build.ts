import { BaseImage } from '../../../puzzlefs/write/index.ts'
import { FsError, isImageFile, type PathText } from '../../base/index.ts'
import { closeImage, imageSource, openImage } from '../../molecule/image-file.ts'
import { filesOf, ociSource } from '../../molecule/index.ts'
import { type ImageTarget, LayoutWriter } from '../../oci/write/index.ts'
import { hostFiles, hostTree } from '../host-tree.ts'
import { nothingLeftOut } from '../tree-item.ts'
import { type PuzzlefsImage, type PuzzlefsOptions, writePuzzlefs } from './write-puzzlefs.ts'

/** What attributes an image may have: all that this user can read. */
const EVERY = { everyAttribute: true } as const

export interface BuildOptions extends Omit<PuzzlefsOptions, 'base'> {
  /** Tag of the image in the same layout on which this one is built. */
  readonly baseTag?: string | undefined
}

/**
 * Makes a PuzzleFS image of a directory, in a layout that may be new.
 * @throws FsError with one line; nothing of the image is left then
 */
export async function buildPuzzlefs(
  directory: PathText,
  target: ImageTarget,
  { baseTag, ...options }: BuildOptions,
): Promise<PuzzlefsImage> {
  const base = baseTag === undefined ? undefined : openBase(target, baseTag)
  const output = LayoutWriter.open(target.ociDir)
  try {
    const tree = {
      items: () => hostTree(directory, nothingLeftOut(), EVERY),
      files: (paths: readonly string[]) => hostFiles(directory, paths),
    }
    return await writePuzzlefs(tree, output, target.tag, { ...options, base: base?.image })
  } finally {
    output.close()
    base?.close()
  }
}

/** @throws FsError ENOENT, EIO; EINVAL where the tag is no PuzzleFS image */
function openBase(
  { ociDir }: ImageTarget,
  tag: string,
): { readonly image: BaseImage; readonly close: () => void } {
  const name = `${ociDir}:${tag}`
  const [file] = filesOf({ source: ociSource(ociDir, tag), name }).layers.filter(isImageFile)
  if (file?.digest === undefined) throw new FsError('EINVAL', `${name} is no PuzzleFS image to build on`)
  const image = openImage(file)
  try {
    return { image: new BaseImage(imageSource(image)), close: () => closeImage(image) }
  } catch (error) {
    closeImage(image)
    throw error
  }
}
