import { resolve } from 'node:path'
import { FsError } from '../base/index.ts'
import { findLayerBlob, readDocumentBlob } from './blob.ts'
import { parseDigest, quote } from './digest.ts'
import { isManifestType, isSquashfsLayer, layerKind, SUPPORTED_LAYERS } from './media-type.ts'
import { hostPlatform, parsePlatform } from './platform.ts'
import { rootHashOf } from './root-hash.ts'
import { ConfigSchema, type Descriptor, type ImageConfig, ManifestSchema, parseDocument } from './schema.ts'
import { readLayoutIndex, selectManifest, tagsOf } from './select.ts'

/** More layers than any builder makes: images in the wild have tens. */
const LAYER_LIMIT = 4096

/** One layer of an image: a squashfs file whose presence and size were checked. */
export interface OciLayer {
  /** `algorithm:hex` of the whole blob, squashfs and hash tree. */
  readonly digest: string
  readonly mediaType: string
  /** Bytes of the blob. */
  readonly size: number
  readonly blobPath: string
  readonly annotations: Readonly<Record<string, string>>
  /** dm-verity root hash from the manifest, lower-case hex. Absent: the layer comes without verification. */
  readonly rootHash?: string
}

export interface OciImage {
  /** Absolute. */
  readonly ociDir: string
  readonly tag: string
  readonly manifestDigest: string
  readonly config: ImageConfig
  /** Bottom first, as in the manifest. */
  readonly layers: readonly OciLayer[]
}

export interface ReadImageOptions {
  /** `os/architecture[/variant]`, to choose from an image index; linux on this machine's architecture if absent. */
  readonly platform?: string
}

/**
 * Reads what a tag of an image layout stands for, and checks everything but the bytes of the layers: versions,
 * schema, sizes and digests of the documents; media type, presence and size of each layer's blob.
 * @throws FsError with one line that says what is wrong and where: ENOENT for what is missing, EOPNOTSUPP for
 *   what is not mountable, EINVAL for an ambiguous request, EIO for damage.
 */
export function readImage(ociDir: string, tag: string, options: ReadImageOptions = {}): OciImage {
  const directory = resolve(ociDir)
  const index = readLayoutIndex(directory)
  const explicit = options.platform !== undefined
  const wanted = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform)
  const descriptor = selectManifest(directory, index, tag, wanted, explicit)
  const where = `manifest ${descriptor.digest}`
  const manifest = parseDocument(ManifestSchema, readDocumentBlob(directory, descriptor, 'manifest'), where)
  if (manifest.mediaType !== undefined && !isManifestType(manifest.mediaType)) {
    throw new FsError('EIO', `${where}: media type ${quote(manifest.mediaType)} in an image manifest`)
  }
  // See parseIndex in select.ts: one document must not be both.
  if ('manifests' in manifest) throw new FsError('EIO', `${where}: image manifest with a list of manifests`)
  const configBytes = readDocumentBlob(directory, manifest.config, 'image configuration')
  const config = parseDocument(ConfigSchema, configBytes, `image configuration ${manifest.config.digest}`)
  const count = manifest.layers.length
  if (count === 0) throw new FsError('EIO', `${where}: the image has no layers, there is nothing to mount`)
  if (count > LAYER_LIMIT)
    throw new FsError('EIO', `${where}: ${count} layers, more than the limit of ${LAYER_LIMIT}`)
  const hint = tagsOf(index).includes(`${tag}-squashfs`) ? `; try the tag ${quote(`${tag}-squashfs`)}` : ''
  const layers = manifest.layers.map((layer, i) =>
    readLayer(directory, layer, `layer ${i + 1} of ${count}`, hint),
  )
  return { ociDir: directory, tag, manifestDigest: descriptor.digest, config, layers }
}

/** The tags of a layout, sorted. @throws FsError as `readImage` */
export function listTags(ociDir: string): readonly string[] {
  return tagsOf(readLayoutIndex(resolve(ociDir)))
}

function readLayer(ociDir: string, descriptor: Descriptor, position: string, hint: string): OciLayer {
  const { mediaType, size } = descriptor
  if (!isSquashfsLayer(mediaType)) {
    const kind = layerKind(mediaType)
    const reason = kind === undefined ? 'not known to be squashfs' : kind
    throw new FsError(
      'EOPNOTSUPP',
      `${position}: media type ${quote(mediaType)} is ${reason}; can mount only ${SUPPORTED_LAYERS}${hint}`,
    )
  }
  const digest = parseDigest(descriptor.digest, position)
  const where = `${position}, ${digest.text}`
  const annotations = descriptor.annotations ?? {}
  const rootHash = rootHashOf(annotations, where)
  const blobPath = findLayerBlob(ociDir, digest, size, where)
  const layer = { digest: digest.text, mediaType, size, blobPath, annotations }
  return rootHash === undefined ? layer : { ...layer, rootHash }
}
