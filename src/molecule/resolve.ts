import fs from 'node:fs'
import { recordInUse } from '../../overlay/index.ts'
import {
  errnoCodeOf,
  type FoundDirectory,
  type FoundFiles,
  type FoundLayer,
  FsError,
  type ImageFile,
  isFoundDirectory,
  isImageFile,
  type NamedSource,
  omitUndefined,
  systemPath,
} from '../base/index.ts'
import { containerNamed } from '../kinds/containers.ts'
import { LAYER_TYPES } from '../kinds/kinds.ts'
import { withStored } from '../store/index.ts'
import { O_PATH } from '../sys/files/at.ts'
import { fsVerityDigest } from '../verity/index.ts'
import { verifyBlobsAtMount } from './blobs/scan-blobs.ts'
import { lockForReading } from './ext3/image-locks.ts'
import { openUpperImage, takeTop } from './ext3/upper-image.ts'
import { checkDigests, closeImage, openImage, verifyAtMount } from './image-file.ts'
import { findLowers } from './lower-directories.ts'
import { isOverlay, namedSource } from './source.ts'
import type {
  DirectorySpec,
  ImageSpec,
  LayerSpec,
  MoleculeRequest,
  MoleculeSpec,
  VerifyMode,
} from './spec.ts'

/** Block size where no layer has blocks, and at least beside a directory, bytes. */
const NO_BLOCKS = 128 << 10

/** A source, and what is known of it beside its place. */
export interface ImageRequest extends Pick<MoleculeRequest, 'name' | 'rootHash'> {
  readonly source: NamedSource
}

/**
 * Finds what a source names, down to the files of its layers: of archives, what was made of them.
 * @throws FsError with one line; ENOENT for an archive of which nothing was made (`prepareSource`)
 */
export function findFiles(request: ImageRequest): FoundFiles {
  const found = findInContainer(request)
  return { ...found, layers: withStored(found.layers) }
}

/** The files of a source as they lie in its container. @throws FsError with one line */
export function findInContainer({ source, name, rootHash }: ImageRequest): FoundFiles {
  return containerNamed(source.container).find(source, {
    name,
    rootHash,
    fsVerityOf: fsVerityDigest,
    mediaTypes: LAYER_TYPES,
  })
}

/** Finds what is to be mounted, an overlay as well. @throws FsError with one line */
export function filesOf(request: Pick<MoleculeRequest, 'source' | 'name' | 'rootHash'>): FoundFiles {
  const { source, name, rootHash } = request
  return isOverlay(source) ? findLowers(source) : findFiles({ source, name, rootHash })
}

/**
 * The images among the layers.
 * @param asked what the user asked for, which no directory can give
 * @throws FsError EINVAL for a directory
 */
export function imagesOnly({ layers }: FoundFiles, asked: string): readonly ImageFile[] {
  return layers.map((layer) => {
    if (!isFoundDirectory(layer)) return layer
    throw new FsError(
      'EINVAL',
      `${asked}: ${layer.directory} is a directory, which has nothing to verify against`,
    )
  })
}

/** Who opens images, and ends their use where a later one fails. */
export interface ImageOpener {
  /** @param make opens an image that is not open yet, and verifies it as far as was asked for */
  open(file: ImageFile, make: (file: ImageFile) => ImageSpec): ImageSpec
  close(image: ImageSpec): void
}

/** For one mount: each image is its own. */
const OWN_IMAGES: ImageOpener = { open: (file, make) => make(file), close: closeImage }

/**
 * Opens everything that one mount needs. The descriptors in the result stay open for the life of the process.
 * @param opener opens its images
 * @throws FsError with one line that says what is wrong and where; nothing stays open then
 */
export function resolveMolecule(request: MoleculeRequest, opener: ImageOpener = OWN_IMAGES): MoleculeSpec {
  const { verify, changes } = request
  const takesImage = changes?.kind === 'ext3' ? changes : undefined
  const all = filesOf(request)
  const takesTop = takesImage !== undefined && takesImage.image === undefined
  const { below: found, top } = takesTop ? takeTop(all, request.name) : { below: all, top: undefined }
  const { uid, gid, subdir } = request.options
  if (request.rootHash !== undefined) imagesOnly(found, '--root-hash')
  if (verify === 'eager') imagesOnly(found, '--verify=eager')
  if (found.expectsRootHashes && !request.allowMissingVerity) refuseMissing(found.layers)
  const { plain, imagePaths, manifestDigest, remarks } = found
  const asked = omitUndefined({ manifestDigest, remarks, uid, gid, subdir })
  const opened = openLayers(found.layers, verify, opener, found.data)
  if (takesImage === undefined) return { ...opened, plain, imagePaths, ...asked }
  try {
    const upperImage = openUpperImage(top ?? onlyLayer(takesImage.image))
    return { ...opened, plain: false, imagePaths, upperImage, ...asked }
  } catch (error) {
    closeLayers(opened, opener)
    throw error
  }
}

/** The layer of a source that has no other. @throws FsError EINVAL; as `findFiles` */
function onlyLayer(source: NamedSource | undefined): FoundLayer {
  const [named, name] = namedSource(source ?? '')
  const [layer, another] = findFiles({ source: named, name }).layers
  if (layer !== undefined && another === undefined) return layer
  throw new FsError('EINVAL', `${name} has several layers: changes go into one ext3 file system`)
}

/**
 * The layers of a molecule that no source names.
 * @param plain as `FoundFiles` has it
 * @throws FsError with one line; nothing stays open then
 */
export function moleculeOf(
  found: readonly FoundLayer[],
  plain: boolean,
  data?: readonly ImageFile[],
): MoleculeSpec {
  return { ...openLayers(found, 'lazy', OWN_IMAGES, data), plain, imagePaths: [] }
}

/**
 * Opens each image once, and each directory.
 * @param data images that are no layers, for the only layer
 * @throws FsError; nothing stays open then
 */
function openLayers(
  found: readonly FoundLayer[],
  verify: VerifyMode,
  opener: ImageOpener,
  data: readonly ImageFile[] = [],
): Pick<MoleculeSpec, 'images' | 'layers' | 'blockSize'> {
  const images: ImageSpec[] = []
  const files: ImageFile[] = []
  const layers: LayerSpec[] = []
  try {
    for (const layer of found) {
      if (isFoundDirectory(layer)) layers.push(openDirectory(layer))
      else {
        // What was made of a tar layer may differ with the layers below it.
        const known = files.findIndex(
          ({ label, rootHash }) => label === layer.label && rootHash === layer.rootHash,
        )
        layers.push(known < 0 ? images.length : known)
        if (known >= 0) continue
        images.push(opener.open(layer, (file) => openVerified(file, verify)))
        files.push(layer)
      }
    }
    for (const file of data) images.push(opener.open(file, openImage))
  } catch (error) {
    closeLayers({ images, layers }, opener)
    throw error
  }
  const onlyImages = layers.every((layer) => typeof layer === 'number')
  const least = onlyImages ? 0 : NO_BLOCKS
  return { images, layers, blockSize: Math.max(least, ...images.map(({ facts }) => facts.blockSize)) }
}

/** Opens an image, and verifies what is to be verified at the mount. @throws FsError; nothing stays open then */
function openVerified(file: ImageFile, verify: VerifyMode): ImageSpec {
  const image = openImage(file)
  try {
    lockForReading(image)
    verifyAtMount(image, verify)
    if (verify === 'eager') {
      verifyBlobsAtMount(image)
      checkDigests(image, file.digests ?? [])
    }
    return image
  } catch (error) {
    closeImage(image)
    throw error
  }
}

function closeLayers({ images, layers }: Pick<MoleculeSpec, 'images' | 'layers'>, opener: ImageOpener): void {
  for (const image of images) opener.close(image)
  for (const layer of layers) if (typeof layer !== 'number') fs.closeSync(layer.fd)
}

function openDirectory({ directory: path, followsRedirects, what, ...known }: FoundDirectory): DirectorySpec {
  try {
    const fd = fs.openSync(systemPath(path), O_PATH | fs.constants.O_DIRECTORY)
    const ownerRecord = known.ownerRecord ?? recordInUse(fd)
    return { label: path, fd, followsRedirects, ...omitUndefined({ ownerRecord }) }
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${what} ${path} cannot be opened: ${code}`, { cause: error })
  }
}

function refuseMissing(layers: readonly FoundLayer[]): void {
  const missing = layers
    .filter(isImageFile)
    .filter(({ rootHash, digest }) => rootHash === undefined && digest === undefined)
  const [first] = missing
  if (first === undefined) return
  const others = missing.length === 1 ? '' : ` (and ${missing.length - 1} more)`
  throw new FsError(
    'EINVAL',
    `layer ${first.label}${others} has no root hash in the manifest, so it cannot be verified; ` +
      'mount it unverified with --allow-missing-verity',
  )
}
