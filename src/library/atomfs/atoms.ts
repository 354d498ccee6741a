import type { PathText } from '../../base/index.ts'
import { LAYER_TYPES } from '../../kinds/kinds.ts'
import { readImage } from '../../oci/index.ts'

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
 * @throws FsError ENOENT for what is missing, EOPNOTSUPP for what cannot be mounted, EIO for damage
 */
export function readAtoms(ociDir: PathText, tag: string): readonly AtomDescriptor[] {
  const { layers } = readImage(ociDir, tag, { mediaTypes: LAYER_TYPES })
  return layers
    .map(({ mediaType, digest, size, annotations }) => ({ mediaType, digest, size, annotations }))
    .reverse()
}
