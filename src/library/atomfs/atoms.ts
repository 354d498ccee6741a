import { FsError, type PathText, printable } from '../../base/index.ts'
import { LAYER_TYPES } from '../../kinds/kinds.ts'
import { parseSource, readImage } from '../../oci/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/** One layer as the manifest describes it (OCI image specification, descriptor.md). */
export interface AtomDescriptor {
  readonly mediaType: string
  /** `algorithm:hex` of the whole blob. */
  readonly digest: string
  /** Bytes of the blob. */
  readonly size: number
  /** Empty where the manifest has none; holds the root hash. */
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * The layers of an image, topmost first: atomfs turns the order of the manifest around.
 * @throws FsError ENOENT for what is missing, EOPNOTSUPP for what cannot be mounted, EIO for damage, EINVAL where
 *   `OCIDIR:TAG` is the name of something else, too
 */
export function readAtoms(ociDir: PathText, tag: string): readonly AtomDescriptor[] {
  const source = parseSource(sourceOf(ociDir, tag))
  if (source.kind !== 'oci' || source.ociDir !== absolutePath(ociDir) || source.reference !== tag) {
    throw new FsError('EINVAL', `${printable(ociDir)}:${printable(tag)} can be read in two ways`)
  }
  const { layers } = readImage(source.ociDir, source.reference, { mediaTypes: LAYER_TYPES })
  return layers
    .map(({ mediaType, digest, size, annotations }) => ({ mediaType, digest, size, annotations }))
    .reverse()
}

/** An image as SOURCE of the command line. */
export function sourceOf(ociDir: PathText, tag: string): string {
  return tag === '' ? `oci:${ociDir}` : `oci:${ociDir}:${tag}`
}
