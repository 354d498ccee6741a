/** Documents that we follow; the second of each pair is the older name that the same documents have elsewhere. */
export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX_TYPES: ReadonlySet<string> = new Set([
  INDEX_TYPE,
  'application/vnd.docker.distribution.manifest.list.v2+json',
])
const MANIFEST_TYPES: ReadonlySet<string> = new Set([
  MANIFEST_TYPE,
  'application/vnd.docker.distribution.manifest.v2+json',
])

/** Of a document that lists manifests, by OCI or by Docker. */
export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType)
}

/** Of a document that describes one image, by OCI or by Docker. */
export function isManifestType(mediaType: string): boolean {
  return MANIFEST_TYPES.has(mediaType)
}

/** What stands in place of a document that an image does not have (manifest.md, "Guidance for an Empty Descriptor"). */
export const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json'

/** An image configuration. */
export const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'

/** Whether a layer is a tar archive, whatever compresses it: those of OCI and of Docker. */
export function isTarLayer(mediaType: string): boolean {
  return TAR.test(mediaType)
}

/** Whether a registry need not have the layer (image-spec, layer.md, "Non-Distributable Layers"). */
export function isForeignLayer(mediaType: string): boolean {
  return /\.(nondistributable|foreign)\./.test(mediaType)
}

const TAR = /\.tar(?:[.+](?:gzip|zstd))?$/

/** What another known kind of layer is called, for messages; undefined for an unknown one. */
export function layerKind(mediaType: string): string | undefined {
  if (isTarLayer(mediaType)) return 'a tar archive'
  if (mediaType.endsWith('+encrypted')) return 'encrypted'
  if (/\.layer\.erofs(?:\+|$)/.test(mediaType)) return 'an erofs image'
  if (mediaType.startsWith('application/vnd.puzzlefs.')) return 'a PuzzleFS image of another version'
  return undefined
}
