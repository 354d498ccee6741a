import { readSuperblock } from '../../../squashfs/index.ts'
import {
  CONFIG_TYPE,
  hostPlatform,
  type ImageConfig,
  MANIFEST_TYPE,
  withDiffIds,
  withOneLayer,
} from '../../oci/index.ts'
import { type ImageTarget, LayoutWriter } from '../../oci/write/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { Conversion, type ConvertedLayer, type ConvertOptions, type Made } from './conversion.ts'
import type { SourceImage } from './source-image.ts'

export interface ConvertedImage extends ImageTarget {
  readonly manifestDigest: string
  /** Bottom first. */
  readonly layers: readonly ConvertedLayer[]
}

/**
 * Makes an image of squashfs layers of another one, in a layout that may be new. Archives become squashfs layers,
 * squashfs layers are copied, and a layer that the layout has from before is not read. All digests and sizes of what is
 * read are checked. The image is seen when it is whole and on the disk; on an error nothing of it is left.
 * @param source stays the caller's
 * @throws FsError with one line that names the layer
 */
export async function convert(
  source: SourceImage,
  target: ImageTarget,
  options: ConvertOptions,
): Promise<ConvertedImage> {
  const output = LayoutWriter.open(target.ociDir)
  const conversion = new Conversion(output, options)
  try {
    const isSquashed = options.squash === true && source.layers.length > 1
    const made = isSquashed
      ? [await conversion.squashed(source.layers)]
      : await conversion.layers(source.layers)
    options.image.signal?.throwIfAborted()
    const digests = made.map(({ descriptor }) => descriptor.digest)
    const before = source.config ?? newConfig(made)
    const after = isSquashed
      ? withOneLayer(before, digests[0] ?? '', 'atomfs-fuse convert --squash')
      : withDiffIds(before, digests)
    const config = output.document(CONFIG_TYPE, after)
    const manifest = output.document(MANIFEST_TYPE, {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config,
      layers: made.map(({ descriptor }) => descriptor),
      ...(source.annotations && { annotations: source.annotations }),
    })
    output.publish(target.tag, { ...manifest, ...(source.platform && { platform: source.platform }) })
    return { ...target, manifestDigest: manifest.digest, layers: made.map(({ layer }) => layer) }
  } finally {
    await conversion.close()
    output.close()
  }
}

/** Of a tree that comes without one. Its time is that of the newest file in it. */
function newConfig(layers: readonly Made[]): ImageConfig {
  const { os, architecture } = hostPlatform()
  const seconds = layers.map(({ file, descriptor }) =>
    file === undefined ? 0 : readSuperblock(new FileSource(file.fd, descriptor.digest)).modTime,
  )
  const created = new Date(Math.max(...seconds) * 1000).toISOString()
  return { created, architecture, os, config: {}, history: [{ created, created_by: 'atomfs-fuse convert' }] }
}
