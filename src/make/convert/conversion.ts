import { type ImageFile, omitUndefined } from '../../base/index.ts'
import { type Descriptor, openLayerBlob, parseDigest, rootHashOf } from '../../oci/index.ts'
import type { LayoutWriter } from '../../oci/write/index.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import type { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { CompressPool } from '../compress-pool.ts'
import { hostTree } from '../host-tree.ts'
import { ShownTree } from '../shown-tree.ts'
import type { LeftOut, TreeItems } from '../tree-item.ts'
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
import type { SourceLayer, SquashfsLayer, TarLayer } from './source-image.ts'

/** How an image is converted. */
export interface ConvertOptions {
  /** Of the layers that are made. */
  readonly image: ImageOptions
  /** Makes one layer of the merged tree. */
  readonly squash?: boolean
  /** Makes squashfs layers anew, too, with these options. */
  readonly recompress?: boolean
  /** Called before each layer. @param total gives the bytes that will be read, about, where that can be known */
  readonly onLayer?: (position: number, count: number, total: () => number | undefined) => void
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

/** A layer of the new image. */
export interface Made {
  readonly layer: ConvertedLayer
  readonly descriptor: Descriptor
  /** Absent for one that was in the layout. */
  readonly file?: UnfinishedFile
}

/** Layers that are made to be merged, and then thrown away. */
export const INTERMEDIATE = { name: 'gzip', level: 1, blockSize: 128 << 10 } as const

/** Makes the layers of an image. */
export class Conversion {
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
      const total = (): number | undefined => ('open' in layer ? layer.size : layer.measure?.())
      this.#options.onLayer?.(i + 1, layers.length, total)
      try {
        made.push(await this.#layer(layer, made))
      } catch (error) {
        throw await explain(layer, error)
      }
    }
    return made
  }

  /** One layer of all: they are made, merged and thrown away. Memory does not grow with them. */
  async squashed(layers: readonly SourceLayer[]): Promise<Made> {
    const sources = layers.map((layer) => sourceDigest(layer))
    const source = sources.includes(undefined) ? undefined : digestOfLayers(sources.map(String))
    const origin = source === undefined ? undefined : this.#origin(source, [], 'squash')
    const present = origin && this.#present.find(origin)
    if (present !== undefined) return made(source, 'reused', { descriptor: present })
    const { onLayer, onProgress, image } = this.#options
    const { threads, signal } = image
    const parts = new Conversion(this.#output, {
      ...omitUndefined({ onLayer, onProgress }),
      image: { ...INTERMEDIATE, ...omitUndefined({ threads, signal }) },
    })
    let intermediate: readonly Made[] = []
    try {
      intermediate = await parts.layers(layers)
      const whole = await this.#repacked('merged layers', intermediate, 'merged', origin)
      return withLosses(made(source, 'converted', whole), intermediate)
    } finally {
      await parts.close()
      for (const { file } of intermediate) if (file !== undefined) this.#output.drop(file)
    }
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
        return await this.#tree(layer, progress, (leftOut) => hostTree(layer.directory, leftOut, {}))
      case 'tree':
        return await this.#tree(layer, progress, layer.items)
      case 'squashfs':
        if (this.#options.recompress === true) return await this.#recompressed(layer, progress)
        if (layer.descriptor !== undefined && this.#present.has(layer.descriptor)) {
          const { descriptor } = layer
          return made(descriptor.digest, 'reused', { descriptor })
        }
        return made(layer.digest?.text, 'copied', await copyLayer(layer, this.#place, progress))
      case 'tar':
        return await this.#archive(layer, below, progress)
    }
  }

  async #tree(
    { label }: SourceLayer,
    onProgress: (done: number) => void,
    items: (leftOut: LeftOut) => TreeItems,
  ): Promise<Made> {
    const place = { ...this.#place, options: { ...this.#place.options, onProgress } }
    return made(undefined, 'converted', await packLayer(label, place, (leftOut) => () => items(leftOut)))
  }

  /** A squashfs layer as it is, marks included, in another image. */
  async #recompressed(layer: SquashfsLayer, progress: (done: number) => void): Promise<Made> {
    const source = layer.digest?.text
    const origin = source === undefined ? undefined : this.#origin(source, [], 'recompress')
    const present = origin && this.#present.find(origin)
    if (present !== undefined) return made(source, 'reused', { descriptor: present })
    const copy = await copyLayer(layer, this.#place, progress)
    try {
      return made(source, 'converted', await this.#repacked(layer.label, [copy], 'stored', origin))
    } finally {
      this.#output.drop(copy.file)
    }
  }

  /** A layer of the tree of others. */
  async #repacked(
    label: string,
    layers: readonly Pick<Made, 'descriptor' | 'file'>[],
    form: 'merged' | 'stored',
    origin: Origin | undefined,
  ): Promise<NewLayer> {
    const files = layers.map((one) => this.fileOf(one))
    let tree: ShownTree | undefined
    try {
      const annotations = origin === undefined ? {} : originAnnotations(origin, false)
      const items = (leftOut: LeftOut) => () => {
        tree = new ShownTree(files, form, leftOut)
        return tree.items()
      }
      return await packLayer(label, this.#place, items, () => annotations)
    } finally {
      tree?.close()
    }
  }

  async #archive(layer: TarLayer, below: readonly Made[], progress: (done: number) => void): Promise<Made> {
    const source = sourceDigest(layer)
    const origin = source === undefined ? undefined : this.#origin(source, below)
    const present = origin && this.#present.find(origin)
    if (present !== undefined) return made(source, 'reused', { descriptor: present })
    const lower = new LowerLayers(below.map((one) => this.fileOf(one)))
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

  #origin(source: string, below: readonly Made[], how?: string): Origin {
    const options = describeOptions(this.#options.image)
    return {
      source,
      options: how === undefined ? options : `${options} ${how}`,
      below: digestOfLayers(below.map(({ descriptor }) => descriptor.digest)),
    }
  }

  /** A layer as an image that can be read. */
  fileOf({ descriptor, file }: Pick<Made, 'descriptor' | 'file'>): ImageFile {
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

/** What the parts of a layer have lost is lost in it. */
function withLosses({ layer, ...others }: Made, parts: readonly Made[]): Made {
  const total = (count: (one: ConvertedLayer) => number): number =>
    parts.reduce((sum, part) => sum + count(part.layer), count(layer))
  const losses = {
    attributes: total(({ attributes }) => attributes),
    devices: total(({ devices }) => devices),
    missingEnds: total(({ missingEnds }) => missingEnds),
    bytesBehindEnd: total(({ bytesBehindEnd }) => bytesBehindEnd),
    clampedTimes: total(({ clampedTimes }) => clampedTimes),
  }
  return { ...others, layer: { ...layer, ...losses } }
}

/** Absent where it is not known before the layer is read. */
function sourceDigest(layer: SourceLayer): string | undefined {
  if (!('open' in layer)) return undefined
  return (layer.digest ?? (layer.form === 'tar' ? layer.diffId : undefined))?.text
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
    missingEnds: image?.missingEnds ?? 0,
    bytesBehindEnd: image?.bytesBehindEnd ?? 0,
    clampedTimes: image?.clampedTimes ?? 0,
  }
  return { layer, descriptor, ...(file && { file }) }
}
