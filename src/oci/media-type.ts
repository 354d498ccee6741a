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

export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType)
}

export function isManifestType(mediaType: string): boolean {
  return MANIFEST_TYPES.has(mediaType)
}

/** What another known kind of layer is called, for messages; undefined for an unknown one. */
export function layerKind(mediaType: string): string | undefined {
  if (/\.tar(?:[.+](?:gzip|zstd))?$/.test(mediaType)) return 'a tar archive'
  if (/\.layer\.erofs(?:\+|$)/.test(mediaType)) return 'an erofs image'
  if (mediaType.startsWith('application/vnd.puzzlefs.')) return 'a puzzlefs image'
  return undefined
}
