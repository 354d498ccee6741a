import { type ImageFile, isErrno, isImageFile, type Name, type PathText } from '../../base/index.ts'
import { filesOf } from '../../molecule/index.ts'
import { type ImageTarget, LayoutWriter } from '../../oci/write/index.ts'
import { Conversion, INTERMEDIATE } from '../convert/conversion.ts'
import { isArchiveSource, openSourceImage } from '../convert/open-source.ts'
import { ShownTree, type TreeForm } from '../shown-tree.ts'
import { readSourceForm } from '../source-form.ts'
import { buildPuzzlefs } from './build.ts'
import {
  type PuzzlefsImage,
  type PuzzlefsOptions,
  type ReadableTree,
  writePuzzlefs,
} from './write-puzzlefs.ts'

export interface ConvertPuzzlefsOptions extends PuzzlefsOptions {
  /** As for `openSourceImage`. */
  readonly platform?: string | undefined
}

/**
 * Makes a PuzzleFS image of what a mount of SOURCE would show, in a layout that may be new. Images that cannot be mounted,
 * such as those of tar layers, are read through squashfs layers that are thrown away.
 * @param text as for `openSourceImage`
 * @throws FsError with one line; nothing of the image is left then
 */
export async function convertToPuzzlefs(
  text: string,
  target: ImageTarget,
  options: ConvertPuzzlefsOptions,
): Promise<PuzzlefsImage> {
  const found = isArchiveSource(text) ? undefined : mountable(text)
  if (found !== undefined && 'directory' in found)
    return await buildPuzzlefs(found.directory, target, options)
  const output = LayoutWriter.open(target.ociDir)
  try {
    if (found === undefined) return await writeLayers(text, output, target.tag, options)
    return await writeShown(found.images, found.plain ? 'shown alone' : 'shown', output, target.tag, options)
  } finally {
    output.close()
  }
}

/** What a mount would be made of. @returns undefined where a source has layers that no mount reads, or is an archive */
function mountable(
  text: string,
):
  | { readonly directory: PathText }
  | { readonly images: readonly ImageFile[]; readonly plain: boolean }
  | undefined {
  const found = readSourceForm(text, false)
  if (found.form === 'directory') return { directory: found.path }
  if (found.form === 'tar') return undefined
  try {
    const { layers, plain } = filesOf({ source: found.source, name: text })
    return { images: layers.filter(isImageFile), plain }
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP')) return undefined
    throw error
  }
}

async function writeLayers(
  text: string,
  output: LayoutWriter,
  tag: string,
  options: ConvertPuzzlefsOptions,
): Promise<PuzzlefsImage> {
  const source = await openSourceImage(text, options.platform)
  const { signal } = options
  const conversion = new Conversion(output, { image: { ...INTERMEDIATE, ...(signal && { signal }) } })
  try {
    const made = await conversion.layers(source.layers)
    try {
      return await writeShown(
        made.map((one) => conversion.fileOf(one)),
        'shown',
        output,
        tag,
        options,
        () => {
          for (const { file } of made) if (file !== undefined) output.drop(file)
        },
      )
    } finally {
      await conversion.close()
    }
  } finally {
    source.close()
  }
}

/** @param beforeEnd called once all is read, before the image gets its tag */
async function writeShown(
  images: readonly ImageFile[],
  form: TreeForm,
  output: LayoutWriter,
  tag: string,
  options: PuzzlefsOptions,
  beforeEnd: () => void = () => {},
): Promise<PuzzlefsImage> {
  const tree = new ShownTree(images, form)
  try {
    return await writePuzzlefs({ ...readable(tree), beforeEnd }, output, tag, options)
  } finally {
    tree.close()
  }
}

function readable(tree: ShownTree): ReadableTree {
  return {
    items: () => tree.items(),
    *files(paths: readonly Name[]) {
      for (const path of paths) {
        const found = tree.find(path.split('/'))
        if (found !== undefined) yield { path, entry: tree.entryOf(found, path) }
      }
    },
  }
}
