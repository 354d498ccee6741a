import { readSuperblock } from '../../../squashfs/index.ts'
import type { ImageFile } from '../../base/index.ts'
import {
  CONFIG_TYPE,
  type Descriptor,
  hostPlatform,
  type ImageConfig,
  MANIFEST_TYPE,
  openLayerBlob,
  parseDigest,
  rootHashOf,
  withDiffIds,
} from '../../oci/index.ts'
import { type ImageTarget, LayoutWriter } from '../../oci/write/index.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import type { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { CompressPool } from '../compress-pool.ts'
import { hostTree } from '../host-tree.ts'
import type { LeftOut } from '../tree-item.ts'
import type { ImageOptions } from '../write-image.ts'
import {
  ConvertedLayers,
  describeOptions,
  digestOfLayers,
  type Origin,
  originAnnotations,
} from './converted-layers.ts'
import { layerTree } from './layer-tree.ts'
import { LowerLayers } from './lower-layers.ts'
import { copyLayer, explain, type LayerPlace, type NewLayer, packLayer } from './new-layer.ts'
import type { SourceImage, SourceLayer, TarLayer } from './source-image.ts'

/** How an image is converted. */
export interface ConvertOptions {
  /** Of the layers that are made. */
  readonly image: ImageOptions
  /** Called before each layer. @param total bytes of it, where that is known */
  readonly onLayer?: (position: number, count: number, total: number | undefined) => void
  /** @param done bytes of the layer that were read */
  readonly onProgress?: (done: number) => void
}

export interface ConvertedLayer extends LeftOut {
  /** Digest of the layer in the source; absent where it has none. */
  readonly source?: string
  readonly digest: string
  readonly size: number
  readonly mediaType: string
  /** Hex. */
  readonly rootHash?: string
  /** `reused`: it was in the layout. */
  readonly how: 'converted' | 'copied' | 'reused'
  /** Entries whose mtime squashfs cannot store. */
  readonly clampedTimes: number
}

export interface ConvertedImage extends ImageTarget {
  readonly manifestDigest: string
  /** Bottom first. */
  readonly layers: readonly ConvertedLayer[]
}

/** A layer of the new image. */
interface Made {
  readonly layer: ConvertedLayer
  readonly descriptor: Descriptor
  /** Absent for one that was in the layout. */
  readonly file?: UnfinishedFile
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
    const made = await conversion.layers(source.layers)
    options.image.signal?.throwIfAborted()
    const digests = made.map(({ descriptor }) => descriptor.digest)
    const config = output.document(CONFIG_TYPE, withDiffIds(source.config ?? newConfig(made), digests))
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

class Conversion {
  readonly #output: LayoutWriter
  readonly #options: ConvertOptions
  readonly #place: LayerPlace
  readonly #present: ConvertedLayers
  /** Started for the first layer that needs it. */
  #pool: CompressPool | undefined

  constructor(output: LayoutWriter, options: ConvertOptions) {
    this.#output = output
    this.#options = options
    const { image } = options
    const compressor = (): CompressPool => (this.#pool ??= new CompressPool(image, image.threads))
    this.#place = { output, compressor, options: image }
    this.#present = new ConvertedLayers(output)
  }

  async layers(layers: readonly SourceLayer[]): Promise<readonly Made[]> {
    const made: Made[] = []
    for (const [i, layer] of layers.entries()) {
      this.#options.image.signal?.throwIfAborted()
      this.#options.onLayer?.(i + 1, layers.length, 'open' in layer ? layer.size : undefined)
      try {
        made.push(await this.#layer(layer, made))
      } catch (error) {
        throw await explain(layer, error)
      }
    }
    return made
  }

  async close(): Promise<void> {
    await this.#pool?.close()
  }

  async #layer(layer: SourceLayer, below: readonly Made[]): Promise<Made> {
    const progress = (done: number): void => {
      this.#options.image.signal?.throwIfAborted()
      this.#options.onProgress?.(done)
    }
    switch (layer.form) {
      case 'directory':
        return made(
          undefined,
          'converted',
          await packLayer(
            layer.label,
            this.#place,
            (leftOut) => () => hostTree(layer.directory, leftOut, {}),
          ),
        )
      case 'tree':
        return made(
          undefined,
          'converted',
          await packLayer(layer.label, this.#place, (leftOut) => () => layer.items(leftOut)),
        )
      case 'squashfs':
        if (layer.descriptor !== undefined && this.#present.has(layer.descriptor)) {
          const { descriptor } = layer
          return made(descriptor.digest, 'reused', { descriptor })
        }
        return made(layer.digest?.text, 'copied', await copyLayer(layer, this.#place, progress))
      case 'tar':
        return await this.#archive(layer, below, progress)
    }
  }

  async #archive(layer: TarLayer, below: readonly Made[], progress: (done: number) => void): Promise<Made> {
    const source = (layer.digest ?? layer.diffId)?.text
    const origin = source === undefined ? undefined : this.#origin(source, below)
    const present = origin && this.#present.find(origin)
    if (present !== undefined) return made(source, 'reused', { descriptor: present })
    const lower = new LowerLayers(below.map((one) => this.#fileOf(one)))
    try {
      const layerMade = await packLayer(
        layer.label,
        this.#place,
        (leftOut) => (writer) => layerTree(layer, writer, lower, leftOut, progress),
        () => (origin === undefined ? {} : originAnnotations(origin, lower.wasAsked)),
      )
      return made(source, 'converted', layerMade)
    } finally {
      lower.close()
    }
  }

  #origin(source: string, below: readonly Made[]): Origin {
    return {
      source,
      options: describeOptions(this.#options.image),
      below: digestOfLayers(below.map(({ descriptor }) => descriptor.digest)),
    }
  }

  #fileOf({ descriptor, file }: Made): ImageFile {
    const { digest, size, annotations } = descriptor
    const { path } = this.#output
    const rootHash = rootHashOf(annotations ?? {}, digest)
    const open = (): number =>
      file === undefined
        ? openLayerBlob(path, parseDigest(digest, 'layer'), size, `layer ${digest}`)
        : duplicateDescriptor(file.fd)
    return { label: digest, path, kind: 'squashfs', open, ...(rootHash !== undefined && { rootHash }) }
  }
}

function made(
  source: string | undefined,
  how: ConvertedLayer['how'],
  { descriptor, file, image }: Pick<NewLayer, 'descriptor'> & Partial<NewLayer>,
): Made {
  const { digest, size, mediaType, annotations } = descriptor
  const rootHash = rootHashOf(annotations ?? {}, digest)
  const layer: ConvertedLayer = {
    ...(source !== undefined && { source }),
    digest,
    size,
    mediaType,
    ...(rootHash !== undefined && { rootHash }),
    how,
    attributes: image?.attributes ?? 0,
    devices: image?.devices ?? 0,
    clampedTimes: image?.clampedTimes ?? 0,
  }
  return { layer, descriptor, ...(file && { file }) }
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
