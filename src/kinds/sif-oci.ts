import { openSync } from 'node:fs'
import { checkObject, objectTitle, readObject, type Sif, type SifObject, TYPE } from '../../sif/index.ts'
import {
  type FindRequest,
  type FoundFiles,
  FsError,
  type ImageFile,
  omitUndefined,
  type PathText,
  systemPath,
} from '../base/index.ts'
import {
  diffIdsOf,
  digestOf,
  isTarLayer,
  type LayoutFiles,
  type Manifest,
  parseDigest,
  quote,
  readDocuments,
  rootHashOf,
} from '../oci/index.ts'

/** An index of so many bytes is read, as of a layout. */
const INDEX_LIMIT = 4 << 20

/** Signatures of cosign stand beside the image in its index, under names that begin so. */
const COSIGN = '_cosign'
const REF_NAME = 'org.opencontainers.image.ref.name'

/** The only layer that is not squashfs: a writable overlay, which stands last. */
const WRITABLE_LAYER = 'application/vnd.sylabs.image.layer.v1.ext3'

/** Whether a SIF holds an OCI image in the place of partitions. */
export function isOciSif({ objects }: Sif): boolean {
  return objects.some(({ type }) => type === TYPE.rootIndex)
}

/**
 * The layers of the only image of an OCI-SIF. Documents are checked by their digests, as in a layout.
 * @throws FsError ENOENT, EINVAL, EOPNOTSUPP, EIO in one line
 */
export function ociLayers(sif: Sif, path: PathText, wanted: FindRequest): FoundFiles {
  const { descriptor, manifest, config } = readDocuments(layoutOf(sif), '')
  const { layers } = manifest
  const hasArchives = layers.some(({ mediaType }) => isTarLayer(mediaType))
  const where = `image configuration ${manifest.config.digest}`
  const diffIds = hasArchives ? diffIdsOf(config, layers.length, where) : undefined
  if (wanted.rootHash !== undefined && layers.length > 1) {
    throw new FsError('EINVAL', `--root-hash is for one layer, ${wanted.name} has ${layers.length}`)
  }
  return {
    layers: layers.map(({ mediaType }, at) => {
      const diffId = isTarLayer(mediaType) ? diffIds?.[at]?.text : undefined
      return { ...layerAt(sif, path, manifest, at, wanted), ...omitUndefined({ diffId }) }
    }),
    plain: false,
    expectsRootHashes: false,
    imagePaths: [path],
    manifestDigest: descriptor.digest,
  }
}

function layerAt(sif: Sif, path: PathText, { layers }: Manifest, at: number, wanted: FindRequest): ImageFile {
  const layer = layers[at]
  if (layer === undefined) throw new FsError('EIO', `${path}: no layer ${at + 1} of ${layers.length}`)
  const { mediaType, annotations } = layer
  const where = `${path}: layer ${at + 1} of ${layers.length}`
  const kind = wanted.mediaTypes.kindOf(mediaType)
  if (kind === undefined) {
    throw new FsError(
      'EOPNOTSUPP',
      `${where}: media type ${quote(mediaType)}; can mount only ${wanted.mediaTypes.known}`,
    )
  }
  if (mediaType === WRITABLE_LAYER && at < layers.length - 1) {
    throw new FsError('EOPNOTSUPP', `${where}: media type ${quote(mediaType)} below another layer`)
  }
  const digest = parseDigest(layer.digest, where).text
  const object = blobOf(sif, digest, where)
  checkObject(sif, object)
  // The overlay is written to in its place, and its digest then says what it was.
  const isStable = mediaType !== WRITABLE_LAYER
  if (isStable && object.size !== layer.size) {
    throw new FsError(
      'EIO',
      `${where}: the manifest says ${layer.size} bytes, and ${objectTitle(object)} has ${object.size}`,
    )
  }
  const rootHash = rootHashOf(annotations ?? {}, where) ?? wanted.rootHash
  return {
    label: digest,
    path,
    offset: object.offset,
    length: object.size,
    kind,
    mediaType,
    blobParts: {
      open: () => openSync(systemPath(path), 'r'),
      place: (one) => {
        const { offset, size: length } = blobOf(sif, one, where)
        return { offset, length }
      },
    },
    ...omitUndefined({ rootHash }),
    ...(isStable ? { digests: [digest] } : {}),
  }
}

/** The documents of a SIF, as those of an image layout. */
function layoutOf(sif: Sif): LayoutFiles {
  const name = sif.source.label
  return {
    name,
    read(place, limit, what) {
      if (place[0] === 'oci-layout') return Buffer.from('{"imageLayoutVersion":"1.0.0"}')
      if (place[0] === 'index.json') return rootIndex(sif)
      const digest = `${place[1]}:${place[2]}`
      return readObject(sif, blobOf(sif, digest, `${name}: ${what}`), limit)
    },
  }
}

/** @throws FsError ENOENT */
function blobOf({ objects }: Sif, digest: string, where: string): SifObject {
  const blob = objects.find(
    ({ extra, type }) => type === TYPE.blob && extra.of === 'oci' && extra.digest === digest,
  )
  if (blob === undefined) throw new FsError('ENOENT', `${where}: no object of the SIF is ${digest}`)
  return blob
}

/** The index without what is no image. @throws FsError EIO where its bytes have another digest, or are no index */
function rootIndex(sif: Sif): Buffer {
  const [object, other] = sif.objects.filter(({ type }) => type === TYPE.rootIndex)
  const { label } = sif.source
  if (object === undefined || other !== undefined) {
    throw new FsError(
      'EIO',
      `${label}: a SIF with ${object === undefined ? 'no' : 'several'} OCI.RootIndex objects`,
    )
  }
  const bytes = readObject(sif, object, INDEX_LIMIT)
  if (object.extra.of === 'oci') {
    const expected = parseDigest(object.extra.digest, `${label}: ${objectTitle(object)}`)
    const actual = digestOf(bytes, expected.algorithm)
    if (actual !== expected.text) {
      throw new FsError(
        'EIO',
        `${label}: ${objectTitle(object)} has digest ${actual}, expected ${expected.text}`,
      )
    }
  }
  return withoutSignatures(bytes)
}

/** What is no JSON is left for the reader of documents to refuse. */
function withoutSignatures(bytes: Buffer): Buffer {
  let index: unknown
  try {
    index = JSON.parse(bytes.toString('utf8'))
  } catch {
    return bytes
  }
  if (typeof index !== 'object' || index === null || !('manifests' in index)) return bytes
  const { manifests } = index
  if (!Array.isArray(manifests)) return bytes
  return Buffer.from(JSON.stringify({ ...index, manifests: manifests.filter((one) => !isSignature(one)) }))
}

function isSignature(descriptor: { annotations?: Record<string, unknown> } | null | undefined): boolean {
  const name = descriptor?.annotations?.[REF_NAME]
  return typeof name === 'string' && name.startsWith(COSIGN)
}
