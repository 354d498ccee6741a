import { FsError, type PathText } from '../../base/index.ts'
import type { SourceLayer } from '../../make/index.ts'

/** One layer of an image, by its name, and the bytes of it. */
export interface ImageLayer {
  /** `algorithm:hex`: of the archive without compression, or of the squashfs image. */
  readonly diffId: string
  readonly form: 'tar' | 'squashfs'
  /** The archive, which may be compressed, or the squashfs image. May be called more than once. */
  open(): AsyncIterable<Uint8Array>
}

/** The layers of an image. */
export interface ImageLayers {
  /** Bottom first. */
  readonly layers: readonly ImageLayer[]
  /** Ends the use of the files of the image. */
  close(): void
}

/**
 * The layers of an image, for `CachingLayerResolver` and `TarballApplicator`: of a layout, or of an archive
 * (`docker-archive:FILE`, `oci-archive:FILE`).
 * @param source as `convert` takes it
 * @throws FsError as `convert`; EINVAL for what has no layers with names: a directory, a file by itself
 */
export async function openImageLayers(
  source: PathText,
  options: { readonly platform?: string } = {},
): Promise<ImageLayers> {
  const { openSourceImage } = await import('../../make/index.ts')
  const image = await openSourceImage(source, options.platform)
  try {
    return { layers: image.layers.map(named), close: () => image.close() }
  } catch (error) {
    image.close()
    throw error
  }
}

function named(layer: SourceLayer): ImageLayer {
  const { form, label } = layer
  if (form === 'tar' || form === 'squashfs') {
    const diffId = (form === 'tar' ? layer.diffId : layer.digest)?.text
    if (diffId !== undefined) return { diffId, form, open: () => layer.open() }
  }
  throw new FsError(
    'EINVAL',
    `${label}: nothing says its digest: an image of a layout or an archive is needed`,
  )
}
