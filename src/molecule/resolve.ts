import { FsError, omitUndefined, type PathText } from '../base/index.ts'
import { LAYER_TYPES } from '../kinds/kinds.ts'
import { openBlobFolder, openLayer, readImage } from '../oci/index.ts'
import { closeImage, type ImageFile, openImage, verifyAtMount } from './image-file.ts'
import { resolveLowers } from './lower-directories.ts'
import { type FileSource, type NamedSource, type OciSource, referenceOf } from './source.ts'
import type { ImageSpec, MoleculeRequest, MoleculeSpec } from './spec.ts'

/** The files of a source, bottom layer first; a repeated layer stands in the list again. */
export interface SourceFiles {
  readonly files: readonly ImageFile[]
  readonly plain: boolean
  /** What the mount point must not cover. */
  readonly imagePaths: readonly PathText[]
  readonly manifestDigest?: string
  readonly mediaTypes: readonly (string | undefined)[]
}

/** An image, and what is known of it beside its place. */
export interface ImageRequest extends Pick<MoleculeRequest, 'name' | 'rootHash'> {
  readonly source: NamedSource
}

/** Finds what a source names, down to the files of its layers. @throws FsError with one line */
export function findFiles(request: ImageRequest): SourceFiles {
  const { source } = request
  return source.container === 'file' ? oneFile(source, request) : filesOfLayout(source, request)
}

function oneFile({ path, offset }: FileSource, { rootHash }: ImageRequest): SourceFiles {
  const file: ImageFile = {
    label: path,
    path,
    ...omitUndefined({ offset, rootHash }),
  }
  return { files: [file], plain: true, imagePaths: [path], mediaTypes: [undefined] }
}

function filesOfLayout(source: OciSource, request: ImageRequest): SourceFiles {
  const image = readImage(source.path, referenceOf(source), { mediaTypes: LAYER_TYPES })
  if (request.rootHash !== undefined && image.layers.length > 1) {
    const { length } = image.layers
    throw new FsError(
      'EINVAL',
      `--root-hash is for one layer, ${request.name} has ${length}: their root hashes belong in the manifest`,
    )
  }
  const files = image.layers.map((layer): ImageFile => {
    const rootHash = agree(layer.rootHash, request.rootHash, layer.digest)
    const { digest: label, blobPath: path, kind } = layer
    return {
      label,
      path,
      kind,
      open: () => openLayer(image, layer),
      openBlobFolder: (digest) => openBlobFolder(image, digest),
      ...omitUndefined({ rootHash }),
    }
  })
  return {
    files,
    plain: false,
    imagePaths: [image.ociDir, ...files.map((file) => file.path)],
    manifestDigest: image.manifestDigest,
    mediaTypes: image.layers.map((layer) => layer.mediaType),
  }
}

/**
 * Opens everything that one mount needs. The descriptors in the result stay open for the life of the process.
 * @throws FsError with one line that says what is wrong and where; nothing stays open then
 */
export function resolveMolecule(request: MoleculeRequest): MoleculeSpec {
  const { source } = request
  const { uid, gid, subdir } = request.options
  return {
    ...(source.container === 'directories' ? resolveLowers(source) : resolveImages({ ...request, source })),
    ...omitUndefined({ uid, gid, subdir }),
  }
}

function resolveImages(request: ImageRequest & MoleculeRequest): MoleculeSpec {
  const { files, plain, imagePaths } = findFiles(request)
  if (!plain && !request.allowMissingVerity) refuseMissing(files)
  const opened = new Map<string, ImageSpec>()
  try {
    for (const file of files) {
      if (opened.has(file.label)) continue
      const image = openImage(file)
      opened.set(file.label, image)
      verifyAtMount(image, request.verify)
    }
  } catch (error) {
    for (const image of opened.values()) closeImage(image)
    throw error
  }
  const labels = [...opened.keys()]
  const images = [...opened.values()]
  return {
    images,
    layers: files.map((file) => labels.indexOf(file.label)),
    plain,
    blockSize: Math.max(...images.map(({ facts }) => facts.blockSize)),
    imagePaths,
  }
}

function refuseMissing(files: readonly ImageFile[]): void {
  const missing = files.filter((file) => file.rootHash === undefined)
  const [first] = missing
  if (first === undefined) return
  const others = missing.length === 1 ? '' : ` (and ${missing.length - 1} more)`
  throw new FsError(
    'EINVAL',
    `layer ${first.label}${others} has no root hash in the manifest, so it cannot be verified; ` +
      'mount it unverified with --allow-missing-verity',
  )
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
