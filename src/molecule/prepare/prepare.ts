import { type FoundLayer, isErrno, isFoundDirectory, type NamedSource } from '../../base/index.ts'
import { looksLikeDigest } from '../../oci/digest.ts'
import { type LayerMakers, type PrepareOptions, prepareLayers, withStored } from '../../store/index.ts'
import { checkDigests, closeImage, openImage } from '../image-file.ts'
import { findInContainer } from '../resolve.ts'
import { namedSource } from '../source.ts'
import { checkLinks, movesOf } from './layers-below.ts'

/** How a source is prepared. */
export interface PrepareSourceOptions extends PrepareOptions {
  /** Makes images of layers that cannot be indexed. Absent: they are refused. */
  readonly convert?: LayerMakers['convert']
}

/**
 * Makes what reading a source needs besides the source: of those layers that are archives the indexes, or images where an
 * archive cannot be indexed. All of it lies in the store.
 * @param source as on the command line, or one that is not read as text any more
 * @returns of how many layers something was made
 * @throws FsError with one line: EIO for a layer that is not what its digest says; EROFS, EACCES, … for the store
 */
export async function prepareSource(
  source: string | NamedSource,
  { convert, ...options }: PrepareSourceOptions = {},
): Promise<number> {
  const [named, name] = namedSource(source)
  const { layers } = findInContainer({ source: named, name })
  const makers: LayerMakers = {
    movesOf(index, below) {
      vouchFor(below)
      return movesOf(index, below)
    },
    checkLinks,
    ...(convert && {
      convert: async (blob, below, output, how) => {
        vouchFor(below)
        return await convert(blob, below, output, how)
      },
    }),
  }
  return await prepareLayers(layers, makers, options)
}

/** Whether nothing has to be made before a source is read. @throws FsError as `prepareSource` */
export function isPrepared(source: string | NamedSource): boolean {
  const [named, name] = namedSource(source)
  const { layers } = findInContainer({ source: named, name })
  try {
    withStored(layers)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/**
 * What is made over certain layers is kept under their digests: so they have to be those, also where nothing verifies
 * them when they are read.
 * @throws FsError EIO
 */
function vouchFor(layers: readonly FoundLayer[]): void {
  for (const layer of layers) {
    if (isFoundDirectory(layer) || layer.rootHash !== undefined || !looksLikeDigest(layer.label)) continue
    const image = openImage(layer)
    try {
      checkDigests(image, [layer.label])
    } finally {
      closeImage(image)
    }
  }
}
