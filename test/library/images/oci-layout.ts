import { createHash } from 'node:crypto'
import { copyFileSync, createReadStream, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { LAYER_TYPES } from '../../../src/kinds/kinds.ts'
import { type OciImage, readImage } from '../../../src/oci/index.ts'

export const SQUASHFS_MEDIA_TYPE = 'application/vnd.stacker.image.layer.squashfs+zstd+verity'
export const MANIFEST_MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json'
export const INDEX_MEDIA_TYPE = 'application/vnd.oci.image.index.v1+json'
export const CONFIG_MEDIA_TYPE = 'application/vnd.oci.image.config.v1+json'
export const ROOT_HASH_ANNOTATION = 'io.stackeroci.stacker.atomfs_verity_root_hash'
const REF_NAME = 'org.opencontainers.image.ref.name'

/** Reads an image as a mount does, with the layers that can be mounted. @param platform as in `ReadImageOptions` */
export function readLayout(ociDir: string, tag: string, platform?: string): OciImage {
  return readImage(ociDir, tag, { mediaTypes: LAYER_TYPES, ...(platform === undefined ? {} : { platform }) })
}

export interface LayerFile {
  readonly file: string
  readonly mediaType?: string
  readonly annotations?: Readonly<Record<string, string>>
  /** Short for the annotation of the current name. */
  readonly rootHash?: string
}

export interface ImageDefinition {
  /** Absent: the manifest stands in index.json without a name. */
  readonly tag?: string
  /** Bottom first. */
  readonly layers: readonly LayerFile[]
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string }
  /** The configuration document; a minimal one if absent. */
  readonly config?: object
}

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: object
}

/** Stores a document and describes it. */
export function putDocument(ociDir: string, mediaType: string, document: unknown): Descriptor {
  const bytes = Buffer.from(JSON.stringify(document))
  const hex = createHash('sha256').update(bytes).digest('hex')
  writeFileSync(join(ociDir, 'blobs/sha256', hex), bytes)
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
}

/** Copies a layer into the layout and describes it. */
export async function putLayer(ociDir: string, layer: LayerFile): Promise<Descriptor> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(layer.file), hash)
  const hex = hash.digest('hex')
  copyFileSync(layer.file, join(ociDir, 'blobs/sha256', hex))
  const annotations = {
    ...layer.annotations,
    ...(layer.rootHash === undefined ? {} : { [ROOT_HASH_ANNOTATION]: layer.rootHash }),
  }
  return {
    mediaType: layer.mediaType ?? SQUASHFS_MEDIA_TYPE,
    digest: `sha256:${hex}`,
    size: statSync(layer.file).size,
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  }
}

/** Creates the directories and oci-layout; the index comes last, with `writeIndex`. */
export function createLayout(ociDir: string): void {
  mkdirSync(join(ociDir, 'blobs/sha256'), { recursive: true })
  writeFileSync(join(ociDir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
}

export function writeIndex(ociDir: string, manifests: readonly Descriptor[]): void {
  writeFileSync(join(ociDir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
}

/** Stores layers, configuration and manifest of one image. @returns the descriptor for index.json. */
export async function putImage(ociDir: string, image: ImageDefinition): Promise<Descriptor> {
  const layers: Descriptor[] = []
  for (const layer of image.layers) layers.push(await putLayer(ociDir, layer))
  const platform = image.platform ?? { os: 'linux', architecture: 'amd64' }
  const config = putDocument(
    ociDir,
    CONFIG_MEDIA_TYPE,
    image.config ?? { ...platform, rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) } },
  )
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_MEDIA_TYPE, config, layers }
  return {
    ...putDocument(ociDir, MANIFEST_MEDIA_TYPE, manifest),
    ...(image.platform === undefined ? {} : { platform: image.platform }),
    ...(image.tag === undefined ? {} : { annotations: { [REF_NAME]: image.tag } }),
  }
}

/** Writes a complete image layout. `ociDir` is created where it is missing. */
export async function writeOciLayout(ociDir: string, images: readonly ImageDefinition[]): Promise<void> {
  createLayout(ociDir)
  const manifests: Descriptor[] = []
  for (const image of images) manifests.push(await putImage(ociDir, image))
  writeIndex(ociDir, manifests)
}
