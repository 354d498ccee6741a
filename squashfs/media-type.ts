/** What stacker calls squashfs layers; a suffix names the compressor. */
const STACKER_LAYER = 'application/vnd.stacker.image.layer.squashfs'

/** Annotations with the root hash of a layer, the current name first. */
const ROOT_HASHES = [
  'io.stackeroci.stacker.atomfs_verity_root_hash',
  'io.stackeroci.stacker.squashfs_verity_root_hash',
]

/**
 * Whether a media type is that of a squashfs layer. The suffix tells how an image was made (`+zstd`, `+zstd+verity`); the
 * compressor itself stands in the superblock, so the suffix is not interpreted.
 */
export function isSquashfsMediaType(mediaType: string): boolean {
  return (
    mediaType === 'application/vnd.sylabs.image.layer.v1.squashfs' ||
    // As the LXC template for OCI images recognises them: application/vnd.*.image.layer.squashfs*
    /^application\/vnd\.[\w.+-]+\.image\.layer\.squashfs[\w.+-]*$/.test(mediaType)
  )
}

/** The media type of a squashfs layer, as stacker writes it today. @param compression such as `zstd` */
export function generateSquashfsMediaType(compression: string): string {
  return `${STACKER_LAYER}+${compression}`
}

/**
 * Whether a layer of a manifest comes with a hash tree: its annotations have a root hash, or its media type ends with
 * `+verity`, as stacker wrote it before it had them.
 */
export function hasVerityMetadata({
  mediaType,
  annotations = {},
}: {
  readonly mediaType: string
  readonly annotations?: Readonly<Record<string, string>>
}): boolean {
  return mediaType.endsWith('+verity') || ROOT_HASHES.some((name) => Object.hasOwn(annotations, name))
}
