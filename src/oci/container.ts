import {
  type Container,
  type FindRequest,
  type FoundFiles,
  FsError,
  type ImageFile,
  type NamedSource,
  omitUndefined,
  type PathText,
  UsageError,
} from '../base/index.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { looksLikeDigest, parseDigest } from './digest.ts'
import {
  type OciImage,
  type OciLayer,
  openBlobFolder,
  openLayer,
  readDocuments,
  readImage,
  readManifestBytes,
} from './image.ts'
import { isLayout, layoutIn } from './layout.ts'
import { fsVerityOfLayer } from './root-hash.ts'

/** Images in an OCI layout. Without tag and digest a source is the only one. */
export const OCI_LAYOUT: Container = {
  name: 'oci',
  title: 'an OCI image layout',
  form: 'OCIDIR:TAG',
  // The transport prefix of other tools.
  prefix: 'oci:',
  claims: (path, stats) => stats.isDirectory() && isLayout(path),
  read: (path, rest = '') => ociSource(path, rest),
  describe({ path, tag, digest }) {
    if (digest !== undefined) return `${path}@${digest}`
    return tag === undefined ? path : `${path}:${tag}`
  },
  atOffset() {
    throw new UsageError('offset= is for an image file; the layers of an OCI image begin at byte 0')
  },
  mayHoldArchives: () => true,
  find: findLayers,
  config: ({ path, tag, digest }) => readDocuments(layoutIn(path), digest ?? tag ?? '').config,
}

/**
 * An image of a layout by the two parts of its name: nothing in them is split.
 * @param reference a tag or a digest; empty for the only image
 * @throws UsageError for a directory without a name
 */
export function ociSource(ociDir: PathText, reference: string): NamedSource {
  if (ociDir === '') throw new UsageError('the name of the image directory is empty')
  const source = { container: OCI_LAYOUT.name, path: absolutePath(ociDir) }
  if (reference === '') return source
  return looksLikeDigest(reference) ? { ...source, digest: reference } : { ...source, tag: reference }
}

function findLayers({ path: ociDir, tag, digest }: NamedSource, wanted: FindRequest): FoundFiles {
  const image = readImage(ociDir, digest ?? tag ?? '', wanted)
  const isSingle = image.layers.some(({ standsAlone }) => standsAlone === true)
  if (isSingle && wanted.rootHash !== undefined) checkManifest(image, wanted)
  if (wanted.rootHash !== undefined && image.layers.length > 1) {
    const { length } = image.layers
    throw new FsError(
      'EINVAL',
      `--root-hash is for one layer, ${wanted.name} has ${length}: their root hashes belong in the manifest`,
    )
  }
  const layers = image.layers.map((layer): ImageFile => {
    const rootHash = isSingle ? undefined : agree(layer.rootHash, wanted.rootHash, layer.digest)
    const fsVerity = isSingle && wanted.rootHash !== undefined ? annotatedVerity(layer) : undefined
    const { digest: label, blobPath: path, kind, mediaType, diffId } = layer
    return {
      label,
      path,
      kind,
      mediaType,
      open: () => openLayer(image, layer),
      openBlobFolder: (blob) => openBlobFolder(image, parseDigest(blob, `layer ${label}: blob`)),
      ...omitUndefined({ rootHash, fsVerity, diffId, digest: isSingle ? label : undefined }),
    }
  })
  return {
    layers,
    plain: false,
    expectsRootHashes: true,
    imagePaths: [image.ociDir, ...layers.map(({ path }) => path)],
    manifestDigest: image.manifestDigest,
  }
}

/**
 * The root hash of an image that stands alone is the fs-verity digest of its manifest: the manifest names the rest.
 * @throws FsError EIO where it is another, EINVAL where it cannot be one
 */
function checkManifest(image: OciImage, { rootHash = '', fsVerityOf }: FindRequest): void {
  const where = `manifest ${image.manifestDigest}`
  if (!/^[0-9a-fA-F]{64}$/.test(rootHash)) {
    throw new FsError('EINVAL', `${where}: its fs-verity digest has 64 hex digits, not ${rootHash.length}`)
  }
  const actual = fsVerityOf?.(readManifestBytes(image))
  if (actual === rootHash.toLowerCase()) return
  throw new FsError('EIO', `${where}: its fs-verity digest is ${actual}, expected ${rootHash.toLowerCase()}`)
}

/** @throws FsError EIO where the manifest has none: whoever trusts its digest alone trusts nothing else */
function annotatedVerity({ annotations, digest }: OciLayer): string {
  const found = fsVerityOfLayer(annotations, `layer ${digest}`)
  if (found !== undefined) return found
  throw new FsError('EIO', `layer ${digest}: the manifest has no fs-verity digest of it`)
}

function agree(
  inManifest: string | undefined,
  given: string | undefined,
  digest: string,
): string | undefined {
  if (inManifest !== undefined && given !== undefined && inManifest !== given.toLowerCase()) {
    throw new FsError(
      'EINVAL',
      `layer ${digest}: the manifest says root hash ${inManifest}, --root-hash another`,
    )
  }
  return inManifest ?? given
}
