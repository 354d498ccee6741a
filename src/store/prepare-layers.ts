import { closeSync, fstatSync, openSync } from 'node:fs'
import { writeTrailer } from '../../tar/format/trailer.ts'
import { buildIndex, type LayerBlob, type Moves, NotEnterable, type WantedDigest } from '../../tar/index.ts'
import {
  type FoundLayer,
  FsError,
  type ImageFile,
  isImageFile,
  omitUndefined,
  systemPath,
} from '../base/index.ts'
import {
  dependsOn,
  findStored,
  imageOf,
  isArchive,
  labelsOf,
  lookAtStored,
  withStored,
} from './find-stored.ts'
import { type NewPlace, withNewPlace } from './new-place.ts'
import { imageName, indexName } from './stored-name.ts'
import { versionOf } from './version.ts'

/** How a layer is being prepared. */
export type Preparation = 'indexing' | 'converting'

/** What a layer was converted to. */
export interface ConvertedLayer {
  /** Hex, of the hash tree behind the image. */
  readonly rootHash: string
  /** Bytes of the image without it. */
  readonly dataLength: number
  /** It holds something of the layers below. */
  readonly dependsOnBelow: boolean
}

/** What boxes above this one know: the merge, and how images are written. */
export interface LayerMakers {
  /** Where directories of a layer belong that it only implies. @param below prepared, bottom first */
  readonly movesOf: (index: ImageFile, below: readonly FoundLayer[]) => Moves
  /** @throws FsError EINVAL for a hard link to a file that neither the layer nor those below have */
  readonly checkLinks: (index: ImageFile, below: readonly FoundLayer[]) => void
  /** Makes an image of a blob. Absent: blobs that cannot be indexed are refused. */
  readonly convert?: (
    blob: LayerBlob,
    below: readonly FoundLayer[],
    output: number,
    options: Pick<PrepareOptions, 'onProgress' | 'signal'>,
  ) => Promise<ConvertedLayer>
}

export interface PrepareOptions {
  /** Called before something is made of a layer. @param total bytes of its blob */
  readonly onLayer?: (position: number, count: number, total: number, how: Preparation) => void
  /** @param done bytes of the blob */
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal | undefined
}

/**
 * Makes what is missing to read those layers of an image that are archives: indexes, or images where none can be made.
 * @param layers bottom first
 * @returns of how many something was made
 * @throws FsError as `buildIndex`; EROFS, ENOSPC, EPERM, … for the store. Nothing is left then
 */
export async function prepareLayers(
  layers: readonly FoundLayer[],
  makers: LayerMakers,
  options: PrepareOptions = {},
): Promise<number> {
  const labels = labelsOf(layers)
  const missing = layers.flatMap((layer, i) =>
    isImageFile(layer) && isArchive(layer) && findStored(layer, labels.slice(0, i)) === undefined
      ? [{ file: layer, at: i }]
      : [],
  )
  for (const [i, { file, at }] of missing.entries()) {
    const onLayer: LayerOptions['onLayer'] = (total, how) =>
      options.onLayer?.(i + 1, missing.length, total, how)
    const below = layers.slice(0, at)
    const { onProgress, signal } = options
    await prepareLayer(file, below, { makers, onLayer, ...omitUndefined({ onProgress, signal }) })
  }
  return missing.length
}

interface LayerOptions extends Pick<PrepareOptions, 'onProgress' | 'signal'> {
  readonly makers: LayerMakers
  readonly onLayer: (total: number, how: Preparation) => void
}

async function prepareLayer(
  file: ImageFile,
  layersBelow: readonly FoundLayer[],
  options: LayerOptions,
): Promise<void> {
  const labels = labelsOf(layersBelow)
  const alone = indexName(file.label)
  const label = `layer ${file.label}`
  await withNewPlace(alone, options.signal, async (place) => {
    // Somebody else has done it while this process waited.
    if (findStored(file, labels) !== undefined) return
    const below = withStored(layersBelow)
    await withBlob(file, async (blob) => {
      if (
        lookAtStored(alone, label) === undefined &&
        !(await indexOrConvert(blob, file, below, place, options))
      )
        return
      const index = lookAtStored(alone, label)
      if (index === undefined) throw new FsError('EIO', `${label}: its index is gone`)
      if (dependsOn(index.trailer, labels)) await complete(blob, imageOf(file, index), below, place, options)
    })
  })
}

/** @returns whether there is an index now */
async function indexOrConvert(
  blob: LayerBlob,
  file: ImageFile,
  below: readonly FoundLayer[],
  place: NewPlace,
  { makers, onLayer, onProgress, signal }: LayerOptions,
): Promise<boolean> {
  const { limit } = place
  const alone = indexName(file.label)
  onLayer(blob.size, 'indexing')
  try {
    await place.make(alone, async (fd) => {
      await buildIndex(blob, fd, omitUndefined({ onProgress, signal, limit }))
      return alone
    })
    return true
  } catch (error) {
    if (!(error instanceof NotEnterable)) throw error
    const { convert } = makers
    if (convert === undefined || place.refusesImages !== undefined) {
      const { code, message } = place.refusesImages ?? error
      throw new FsError(code, `${blob.label}: ${message}`)
    }
    onLayer(blob.size, 'converting')
    const progress = omitUndefined({ onProgress, signal })
    await convertInto(place, file, below, async (output) => await convert(blob, below, output, progress))
    return false
  }
}

async function convertInto(
  place: NewPlace,
  file: ImageFile,
  below: readonly FoundLayer[],
  convert: (output: number) => Promise<ConvertedLayer>,
): Promise<void> {
  const digest = file.diffId ?? file.label
  await place.make(imageName(digest), async (output) => {
    const { rootHash, dataLength, dependsOnBelow } = await convert(output)
    // What it needed of others it has now.
    const needs = { directories: false, files: false }
    writeTrailer(output, { rootHash, dataLength, version: versionOf('squashfs'), needs })
    return imageName(digest, dependsOnBelow ? labelsOf(below) : undefined)
  })
}

/** Makes an index fit for the layers below. */
async function complete(
  blob: LayerBlob,
  index: ImageFile,
  below: readonly FoundLayer[],
  place: NewPlace,
  { makers, onLayer, onProgress, signal }: LayerOptions,
): Promise<void> {
  const labels = labelsOf(below)
  const alone = indexName(index.label)
  const chained = indexName(index.label, labels)
  const moves = makers.movesOf(index, below)
  if (moves.size === 0) {
    makers.checkLinks(index, below)
    place.alias(alone, chained)
    return
  }
  const { limit } = place
  onLayer(blob.size, 'indexing')
  await place.make(chained, async (fd) => {
    await buildIndex(blob, fd, omitUndefined({ onProgress, signal, limit, moves }))
    return chained
  })
  const made = lookAtStored(chained, blob.label)
  if (made === undefined) throw new FsError('EIO', `${blob.label}: its index is gone`)
  try {
    makers.checkLinks(imageOf(index.blob ?? index, made), below)
  } catch (error) {
    place.remove(chained)
    throw error
  }
}

async function withBlob(file: ImageFile, work: (blob: LayerBlob) => Promise<void>): Promise<void> {
  const fd = file.open?.() ?? openSync(systemPath(file.path), 'r')
  try {
    const { offset = 0 } = file
    const size = file.length ?? fstatSync(fd).size - offset
    const diffId = file.diffId === undefined ? undefined : wanted(file.diffId)
    const label = `layer ${file.label}`
    await work({ fd, offset, size, digest: wanted(file.label), label, ...omitUndefined({ diffId }) })
  } finally {
    closeSync(fd)
  }
}

function wanted(digest: string): WantedDigest {
  const [algorithm = '', hex = ''] = digest.split(':')
  return { algorithm, hex }
}
