import { closeSync } from 'node:fs'
import { FsError, type MediaTypes, type PathText } from '../base/index.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { openLayerBlob, readDocument, readDocumentBlob } from './blob.ts'
import { diffIdsOf } from './config.ts'
import { type Digest, parseDigest, quote } from './digest.ts'
import { type LayoutFiles, layoutIn } from './layout.ts'
import { blobPathOf, openLayoutFolder, pathIn } from './layout-file.ts'
import { EMPTY_TYPE, isManifestType, isTarLayer, layerKind } from './media-type.ts'
import { hostPlatform, parsePlatform } from './platform.ts'
import { rootHashOf } from './root-hash.ts'
import {
  ConfigSchema,
  type Descriptor,
  type ImageConfig,
  type Manifest,
  ManifestSchema,
  parseDocument,
} from './schema.ts'
import { readLayoutIndex, selectManifest, tagsOf } from './select.ts'

/** More layers than any builder makes: images in the wild have tens. */
const LAYER_LIMIT = 4096

/** One layer of an image: a file whose presence and size were checked. */
export interface OciLayer {
  /** `algorithm:hex` of the whole blob, squashfs and hash tree. */
  readonly digest: string
  readonly mediaType: string
  /** What reads it, as `MediaTypes.kindOf` said. */
  readonly kind: string
  /** Bytes of the blob. */
  readonly size: number
  /** For messages, and to see what a mount would cover: `openLayer` opens it. */
  readonly blobPath: PathText
  readonly annotations: Readonly<Record<string, string>>
  /** dm-verity root hash from the manifest, lower-case hex. Absent: the layer comes without verification. */
  readonly rootHash?: string
  /** Digest of the layer without compression; absent where the configuration names none. */
  readonly diffId?: string
  /** The other layers of the manifest hold its data: it is the whole image. */
  readonly standsAlone?: true
}

export interface OciImage {
  /** Absolute. */
  readonly ociDir: PathText
  readonly reference: string
  readonly manifestDigest: string
  readonly config: ImageConfig
  /** Bottom first, as in the manifest. */
  readonly layers: readonly OciLayer[]
}

export interface ReadImageOptions {
  readonly mediaTypes: MediaTypes
  /** `os/architecture[/variant]`, to choose from an image index; linux on this machine's architecture if absent. */
  readonly platform?: string
}

/** What the documents of one image say. */
export interface ImageDocuments {
  /** Of the manifest. */
  readonly descriptor: Descriptor
  readonly manifest: Manifest
  readonly config: ImageConfig
  /** All tags of the layout. */
  readonly tags: readonly string[]
}

/**
 * Reads what a reference in an image layout stands for, and checks everything but the bytes of the layers: versions,
 * schema, sizes and digests of the documents; media type, presence and size of each layer's blob.
 * @param reference a tag; the digest of a manifest or an index, which nothing in index.json can redirect; or nothing,
 *   for the only image of the layout
 * @throws FsError with one line that says what is wrong and where: ENOENT for what is missing, EOPNOTSUPP for
 *   what is not mountable, EINVAL for an ambiguous request, EIO for damage.
 */
export function readImage(ociDir: PathText, reference: string, options: ReadImageOptions): OciImage {
  const directory = absolutePath(ociDir)
  const { descriptor, manifest, config, tags } = readDocuments(
    layoutIn(directory),
    reference,
    options.platform,
  )
  const count = manifest.layers.length
  const other = `${reference}-squashfs`
  const hint = tags.includes(other) ? `; try the tag ${quote(other)}` : ''
  const where = `image configuration ${manifest.config.digest}`
  const { mediaTypes } = options
  const alone = manifest.layers.findIndex(({ mediaType }) => mediaTypes.standsAlone?.(mediaType) === true)
  if (alone < 0) assertFewLayers(manifest, descriptor)
  // Those of squashfs layers are compared with nothing, and some builders write them wrong.
  const hasArchives = alone < 0 && manifest.layers.some(({ mediaType }) => isTarLayer(mediaType))
  const diffIds = hasArchives ? diffIdsOf(config, count, where) : undefined
  const layers = manifest.layers.flatMap((layer, i): OciLayer[] => {
    if (alone >= 0 && i !== alone) return []
    const found = readLayer(directory, layer, `layer ${i + 1} of ${count}`, hint, mediaTypes)
    const diffId = isTarLayer(layer.mediaType) ? diffIds?.[i]?.text : undefined
    return [diffId === undefined ? found : { ...found, diffId }]
  })
  return { ociDir: directory, reference, manifestDigest: descriptor.digest, config, layers }
}

/**
 * Reads the documents of the image that a reference in a layout stands for, and checks versions, schema, sizes and digests.
 * @param reference as for `readImage`
 * @param platform as in `ReadImageOptions`
 * @throws FsError as `readImage`
 */
export function readDocuments(layout: LayoutFiles, reference: string, platform?: string): ImageDocuments {
  const index = readLayoutIndex(layout)
  const explicit = platform !== undefined
  const wanted = platform === undefined ? hostPlatform() : parsePlatform(platform)
  const descriptor = selectManifest(layout, index, reference, wanted, explicit)
  const where = `manifest ${descriptor.digest}`
  const manifest = readManifest(layout, descriptor)
  const config = readConfig(layout, manifest)
  if (manifest.layers.length === 0) {
    throw new FsError('EIO', `${where}: the image has no layers, there is nothing to mount`)
  }
  return { descriptor, manifest, config, tags: tagsOf(index) }
}

/** Of an artefact that has none, the empty one stands for it: its blob need not be there. */
function readConfig(layout: LayoutFiles, { config }: Manifest): ImageConfig {
  if (config.mediaType === EMPTY_TYPE) return {}
  const bytes = readDocumentBlob(layout, config, 'image configuration')
  return parseDocument(ConfigSchema, bytes, `image configuration ${config.digest}`)
}

/** @throws FsError EIO for more layers to be merged than any builder makes */
export function assertFewLayers({ layers: { length } }: Manifest, { digest }: Descriptor): void {
  if (length <= LAYER_LIMIT) return
  throw new FsError('EIO', `manifest ${digest}: ${length} layers, more than the limit of ${LAYER_LIMIT}`)
}

/** The bytes of the manifest of an image, as they were checked. @throws FsError as `readImage` */
export function readManifestBytes({ ociDir, manifestDigest }: OciImage): Buffer {
  const digest = parseDigest(manifestDigest, 'manifest')
  return readDocument(layoutIn(ociDir), digest, `manifest ${manifestDigest}`)
}

/** Reads and checks a manifest. @throws FsError EIO, ENOENT */
export function readManifest(layout: LayoutFiles, descriptor: Descriptor): Manifest {
  const where = `manifest ${descriptor.digest}`
  const manifest = parseDocument(ManifestSchema, readDocumentBlob(layout, descriptor, 'manifest'), where)
  if (manifest.mediaType !== undefined && !isManifestType(manifest.mediaType)) {
    throw new FsError('EIO', `${where}: media type ${quote(manifest.mediaType)} in an image manifest`)
  }
  // See parseIndex in select.ts: one document must not be both.
  if ('manifests' in manifest) throw new FsError('EIO', `${where}: image manifest with a list of manifests`)
  return manifest
}

/** The tags of a layout, sorted. @throws FsError as `readImage` */
export function listTags(ociDir: PathText): readonly string[] {
  return tagsOf(readLayoutIndex(layoutIn(absolutePath(ociDir))))
}

/**
 * Opens the blob of a layer.
 * @returns a descriptor of the file that was checked; the caller closes it
 * @throws FsError where it is no longer what it was
 */
export function openLayer(image: Pick<OciImage, 'ociDir'>, layer: OciLayer): number {
  const where = `layer ${layer.digest}`
  return openLayerBlob(image.ociDir, parseDigest(layer.digest, where), layer.size, where)
}

function readLayer(
  ociDir: PathText,
  descriptor: Descriptor,
  position: string,
  hint: string,
  mediaTypes: MediaTypes,
): OciLayer {
  const { mediaType, size } = descriptor
  const kind = mediaTypes.kindOf(mediaType)
  if (kind === undefined) {
    const reason = layerKind(mediaType) ?? 'not known'
    throw new FsError(
      'EOPNOTSUPP',
      `${position}: media type ${quote(mediaType)} is ${reason}; can mount only ${mediaTypes.known}${hint}`,
    )
  }
  const digest = parseDigest(descriptor.digest, position)
  const where = `${position}, ${digest.text}`
  const annotations = descriptor.annotations ?? {}
  const rootHash = rootHashOf(annotations, where)
  closeSync(openLayerBlob(ociDir, digest, size, where))
  const blobPath = pathIn(ociDir, blobPathOf(digest))
  const alone = mediaTypes.standsAlone?.(mediaType) === true && ({ standsAlone: true } as const)
  const layer = { digest: digest.text, mediaType, kind, size, blobPath, annotations, ...alone }
  return rootHash === undefined ? layer : { ...layer, rootHash }
}

/** Opens the folder in which a blob of a layout lies. @returns an O_PATH descriptor; the caller closes it */
export function openBlobFolder({ ociDir }: Pick<OciImage, 'ociDir'>, digest: Digest): number {
  return openLayoutFolder(ociDir, blobPathOf(digest).slice(0, -1), `blobs of ${ociDir}`)
}
