import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { FsError, majorOf, minorOf, type PathText, systemPath } from '../../base/index.ts'
import { imageOfLower, type OpenUpper, recordOf, upperDescriptors } from '../../molecule/index.ts'
import { O_PATH } from '../../sys/files/at.ts'
import { openPlace, sweepAllChanges } from '../runtime/changes.ts'
import { mayBeShared } from './open-source.ts'
import type { UpperOpened, UpperWish } from './protocol.ts'

/**
 * Opens directories in the process of a client of the shared server: it resolves their paths, and waits for their disks. The
 * client loads this file, which is a program of its own, where a server asks for it.
 */

/** An upper directory that is open for the server. */
export interface UpperToSend {
  readonly message: UpperOpened
  readonly descriptors: readonly number[]
  /** Removes what was made for it: there is no mount. */
  undo(): void
}

/**
 * Opens what changes of a mount go to.
 * @param opened descriptors of the directories below it that the server has named
 * @throws FsError as `openPlace`
 */
export async function openUpperForServer(
  { changes, lowers }: UpperWish,
  opened: readonly number[],
): Promise<UpperToSend> {
  const below = lowers.map((what, i) => ({ what, fd: opened[i] ?? -1 }))
  const upper: OpenUpper = await openPlace(changes, below)
  const { dev } = fstatSync(upper.spec.upperFd)
  return {
    message: { upper: recordOf(upper), device: `${majorOf(dev)}:${minorOf(dev)}` },
    descriptors: upperDescriptors(upper),
    undo: () => upper.undo(),
  }
}

/**
 * Opens the lower directories of an overlay.
 * @returns descriptors, which the caller closes
 * @throws FsError EOPNOTSUPP for what a shared server does not read
 */
export function openLowersForServer(paths: readonly PathText[]): readonly number[] {
  const opened: number[] = []
  try {
    for (const path of paths) opened.push(openLower(path))
    return opened
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw error
  }
}

function openLower(path: PathText): number {
  const exact = systemPath(path)
  if (!statSync(exact).isDirectory() || imageOfLower(path) !== undefined) {
    throw new FsError('EOPNOTSUPP', `${path} is no directory`)
  }
  const fd = openSync(exact, O_PATH | constants.O_DIRECTORY)
  if (mayBeShared(fd)) return fd
  closeSync(fd)
  throw new FsError('EOPNOTSUPP', `${path} lies in a file system of another program`)
}

/** Removes temporary changes of mounts that were killed, as an own server does. Never throws. */
export function sweepForServer(): void {
  sweepAllChanges(undefined, () => undefined)
}
