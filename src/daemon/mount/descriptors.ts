import { FsError } from '../../base/index.ts'
import { isOverlay } from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { openFilesLimit, raiseOpenFiles } from '../../sys/process/limits.ts'

/**
 * Descriptors of a mount that serves, as they were counted (Node 20 and 24): 29 in all with `threads=0`, 4 more for each
 * thread, 8 more where it is writable; and some that are open for a moment. A process that runs out of them in one of
 * its threads, or in Node itself, ends without a word, and its mount is dead.
 */
const BASE = 40
const PER_THREAD = 4
const FOR_CHANGES = 16

/**
 * Makes sure, before anything is made, that a mount has enough descriptors.
 * @throws FsError EMFILE with what is missing
 */
export function assertDescriptors({ options, changes, source }: MountRequest): void {
  const lowers = isOverlay(source) ? source.lowers.length : 0
  const needed = BASE + PER_THREAD * options.workers + (changes === undefined ? 0 : FOR_CHANGES) + lowers
  if (openFilesLimit() >= needed) return
  // Root may have more than it was given.
  raiseOpenFiles()
  const limit = openFilesLimit()
  if (limit >= needed) return
  throw new FsError(
    'EMFILE',
    `this process may have ${limit} files open, and the mount needs ${needed}: raise the limit ('ulimit -n ${needed}')`,
  )
}
