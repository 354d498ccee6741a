/** What stacker calls squashfs layers; a suffix names the compressor. */
const STACKER_LAYER = 'application/vnd.stacker.image.layer.squashfs'

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
