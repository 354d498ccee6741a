import { type Log, omitUndefined } from '../base/index.ts'
import {
  blobCount,
  hostDirectories,
  isVerified,
  type MoleculeSpec,
  readTally,
  type TarReport,
  tarReport,
} from '../molecule/index.ts'

/** What both drivers report about layers and damage. */

/** `verified`: all bytes handed out were compared with the root hash, and none differed. */
export type LayerState = 'verified' | 'unverified' | 'failed'

/** What is known of one layer of a mount so far. */
export interface LayerStatus {
  /** Digest of the blob, or path of the image file or directory. */
  readonly label: string
  readonly state: LayerState
  /** Data blocks compared with the root hash since the mount. */
  readonly blocksChecked: number
  /** Comparisons that failed. */
  readonly failures: number
  /** Name of the image kind that reads it; absent for a directory. */
  readonly kind?: string
  /** Of a PuzzleFS image: how many blobs hold its data. */
  readonly chunks?: number
  /** What they are compressed with, as far as some of its files tell; `none` where they are not. */
  readonly compressor?: string
  /** Of a tar layer. */
  readonly tar?: TarReport
}

/** Most different errors to log; more of them add nothing. */
const TOLD_ERRORS = 1000

/** A log that writes each error once: many readers in many threads meet the same damage. */
export function tellOnce(log: Log): Log {
  const told = new Set<string>()
  return (level, message) => {
    if (level !== 'error') log(level, message)
    else if (!told.has(message) && told.size < TOLD_ERRORS) {
      told.add(message)
      log(level, message)
    }
  }
}

/**
 * The state of each image of a mount so far; a directory is always unverified.
 * @param tally of all threads: `allocateTally`
 */
export function layerStatus(spec: MoleculeSpec, tally: SharedArrayBuffer): LayerStatus[] {
  const images = spec.images.length
  return layersOf(
    spec,
    spec.images.map((_, image) => ({ tally, images, image })),
  )
}

/** Where the counts of an image are: which of how many it is in a tally. */
interface TallyPlace {
  readonly tally: SharedArrayBuffer
  readonly images: number
  readonly image: number
}

/** As `layerStatus`. @param places by the index of the image */
export function layersOf(spec: MoleculeSpec, places: readonly TallyPlace[]): LayerStatus[] {
  const images = spec.images.map((image, index): LayerStatus => {
    const { label, kind } = image
    const place = places[index]
    const { blocksChecked, failures } = place
      ? readTally(place.tally, place.images, place.image)
      : { blocksChecked: 0, failures: 0 }
    const state = !isVerified(image) ? 'unverified' : failures > 0 ? 'failed' : 'verified'
    const tar = tarReport(image)
    const chunks = image.blobs === undefined || tar !== undefined ? undefined : blobCount(image.blobs)
    const { compressor } = image.facts
    return { label, kind, state, blocksChecked, failures, ...omitUndefined({ chunks, compressor, tar }) }
  })
  const directories = hostDirectories(spec).map(
    ({ label }): LayerStatus => ({ label, state: 'unverified', blocksChecked: 0, failures: 0 }),
  )
  return [...images, ...directories]
}
