import type { Log } from '../base/index.ts'
import { isVerified, type MoleculeSpec, readTally } from '../molecule/index.ts'

/** What a server tells in the same way whichever driver it serves with. */

/** `verified`: every byte handed out was compared with the root hash, and none differed. */
export type LayerState = 'verified' | 'unverified' | 'failed'

export interface LayerStatus {
  /** Digest of the blob, or path of the image file or directory. */
  readonly label: string
  readonly state: LayerState
  /** Data blocks compared with the root hash since the mount. */
  readonly blocksChecked: number
  /** Comparisons that failed. */
  readonly failures: number
}

/** Different errors that are logged; more of them say nothing new. */
const TOLD_ERRORS = 1000

/** A log in which damage that many readers meet, in many threads, is one line. */
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

/** The verdict on each image of a mount so far, and on directories none. @param tally of all threads: `allocateTally` */
export function layerStatus(spec: MoleculeSpec, tally: SharedArrayBuffer): LayerStatus[] {
  const images = spec.images.map((image, index): LayerStatus => {
    const { label } = image
    const { blocksChecked, failures } = readTally(tally, spec.images.length, index)
    const state = !isVerified(image) ? 'unverified' : failures > 0 ? 'failed' : 'verified'
    return { label, state, blocksChecked, failures }
  })
  const directories = spec.layers
    .filter((layer) => typeof layer !== 'number')
    .map(({ label }): LayerStatus => ({ label, state: 'unverified', blocksChecked: 0, failures: 0 }))
  return [...images, ...directories]
}
