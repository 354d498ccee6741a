import { isErrno, type Log, messageOf, type PathText } from '../../base/index.ts'
import { rmdirAt } from '../../sys/files/at.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { nameOf } from '../../sys/files/walk.ts'
import { readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { livenessOf, ownIdentity } from '../../sys/process/process.ts'
import { openRunDir, runDirCandidates } from '../runtime/folders.ts'

/** Names of places in RUNDIR: with the process that uses one. Entries are removed with all in them, so it is in none. */
const PLACE = /^ext3-(\d+)-(\d+)$/

/** A folder for a mount that is over in a moment. */
export interface Place {
  readonly path: PathText
  /** Removes it, if it is empty. */
  remove(): void
}

/** Makes a place for this process. @throws FsError */
export function makePlace(runDir: Folder): Place {
  const { pid, startTime } = ownIdentity()
  const name = `ext3-${pid}-${startTime}`
  const folder = runDir.make(name, 0o700)
  const { path } = folder
  folder.close()
  return { path, remove: () => rmdirAt(runDir.fd, nameOf(name)) }
}

/**
 * Removes places of processes that were killed while they used one, wherever a mount of this user may have one. A fuse2fs
 * that serves one ends then, and lets go of its file system when it has written everything. Never throws.
 * @returns whether there was one
 */
export async function sweepPlaces(metadataDir: PathText | undefined, log: Log): Promise<boolean> {
  let some = false
  for (const candidate of runDirCandidates(metadataDir)) {
    const runDir = openRunDir(candidate)
    if (runDir === undefined) continue
    try {
      some = (await sweepIn(runDir, log)) || some
    } finally {
      runDir.close()
    }
  }
  return some
}

/** A place whose fuse2fs was killed, too, says of nothing whose it is. */
function mayBeOurs(runDir: Folder, name: string): boolean {
  try {
    return runDir.statOf(name)?.uid === effectiveUid()
  } catch (error) {
    return isErrno(error, 'ENOTCONN')
  }
}

async function sweepIn(runDir: Folder, log: Log): Promise<boolean> {
  let some = false
  const own = ownIdentity()
  for (const name of runDir.names()) {
    const [, pid, startTime] = PLACE.exec(name) ?? []
    if (pid === undefined || !mayBeOurs(runDir, name)) continue
    if (livenessOf({ ...own, pid: Number(pid), startTime: Number(startTime) }) !== 'gone') continue
    const path = runDir.pathOf(name)
    some = true
    try {
      if (topMountAt(readMountInfo(), path) !== undefined) await unmountFuse(path, true)
      rmdirAt(runDir.fd, nameOf(name))
    } catch (error) {
      log('debug', `${path} stays: ${messageOf(error)}`)
    }
  }
  return some
}
