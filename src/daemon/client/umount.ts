import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, isErrno, type PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { MOUNT_TYPE, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { livenessOf, waitUntilGone } from '../../sys/process/process.ts'
import { forEachAside, forEachRunDir, openEntry, type RuntimeEntry, removeEntry } from '../runtime/entries.ts'
import { isEntryLocked } from '../runtime/entry-lock.ts'
import { entryAt } from '../runtime/mounted-entry.ts'
import { canonicalTarget, isDead } from '../runtime/target.ts'
import { isServing } from './control-client.ts'

export interface UmountOptions {
  /** Detach now, although files are open. */
  readonly lazy: boolean
  readonly metadataDir?: string
}

/** The daemon ends within 500 ms; this is for machines that are busy. */
const END_TIMEOUT_MS = 10_000
/** One that has begun to end may still write everything to the disk, as umount(2) does for other file systems. */
const SYNC_TIMEOUT_MS = 600_000
/** Between two looks at the entry of a mount that ends. */
const LOOK_MS = 5
/** A daemon that is lazily unmounted may serve for long: only an idle one is waited for. */
const LAZY_END_TIMEOUT_MS = 500

/**
 * Unmounts one of our mounts and waits until its daemon has ended. What a dead daemon left is removed. A mount that
 * can be seen in another place as well (mount --bind) goes on there, and is not waited for.
 * @returns warnings for the user, one line each
 * @throws FsError EINVAL if this program has no mount there, EBUSY while files are open, or if changes may not be on
 *   the disk yet
 */
export async function umount(target: PathText, options: UmountOptions): Promise<readonly string[]> {
  const mounts = readMountInfo()
  const path = canonicalTarget(target, mounts)
  const top = topMountAt(mounts, path)
  const entry = entryAt(path, mounts, options.metadataDir)
  if (top === undefined || top.type !== MOUNT_TYPE) {
    if (entry !== undefined && isStale(entry)) removeEntry(entry)
    await sweep(options.metadataDir)
    throw new FsError(
      'EINVAL',
      top === undefined
        ? `${target} is not mounted`
        : `${target} is not a mount of atomfs-fuse but of type ${top.type}: use umount(8)`,
    )
  }
  // Its place is gone before its server has removed what the mount has left.
  const folder = entry !== undefined && isSharedAndWritable(entry) ? openEntry(entry) : undefined
  try {
    return await unmountAt({ target, path, device: top.device }, entry, options, folder)
  } finally {
    folder?.close()
  }
}

interface Place {
  readonly target: PathText
  readonly path: PathText
  /** `major:minor` of the mount. */
  readonly device: string
}

/** @param folder of the entry, where the mount has changes of which its server lets go last */
async function unmountAt(
  { target, path, device }: Place,
  entry: RuntimeEntry | undefined,
  options: UmountOptions,
  folder: Folder | undefined,
): Promise<readonly string[]> {
  await detach(path, options.lazy)
  if (entry === undefined || readMountInfo().some((mount) => mount.device === device)) return []
  const daemon = entry.daemon
  if (daemon?.device === device && livenessOf(daemon.process) === 'alive') {
    const ends = daemon.shared === true ? waitUntilLeft : waitUntilEnded
    const timeoutMs = options.lazy ? LAZY_END_TIMEOUT_MS : END_TIMEOUT_MS
    let gone = await ends(entry, timeoutMs)
    if (!gone && !options.lazy && entry.config.AddWriteableOverlay && !(await isServing(entry))) {
      gone = await ends(entry, SYNC_TIMEOUT_MS)
    }
    // It has removed the entry, and may have made another one.
    if (gone && daemon.shared === true && livenessOf(daemon.process) === 'alive') {
      // Temporary changes are removed, and descriptors closed, when the mount has ended. A slow server goes on alone.
      if (folder !== undefined) await waitUntil(() => !isEntryLocked(folder), timeoutMs)
      return []
    }
    if (!gone && !options.lazy) {
      const text = `${target} is unmounted, but its process ${daemon.process.pid} has not ended: the mount may be in use in another mount namespace`
      if (!entry.config.AddWriteableOverlay) return [text]
      throw new FsError('EBUSY', `${text}, and changes may not be on the disk yet`)
    }
  }
  removeEntry(entry)
  await sweep(options.metadataDir)
  return []
}

async function waitUntilEnded({ daemon }: RuntimeEntry, timeoutMs: number): Promise<boolean> {
  return daemon === undefined || (await waitUntilGone(daemon.process, timeoutMs))
}

/** A server of several mounts goes on: it removes the entry of one that has ended. */
async function waitUntilLeft(entry: RuntimeEntry, timeoutMs: number): Promise<boolean> {
  const inode = inodeOf(entry)
  return await waitUntil(() => inodeOf(entry) !== inode || inode === undefined || isStale(entry), timeoutMs)
}

function isSharedAndWritable({ daemon, config }: RuntimeEntry): boolean {
  return daemon?.shared === true && config.AddWriteableOverlay
}

/** @returns false where it has not become so in time */
async function waitUntil(isSo: () => boolean, timeoutMs: number): Promise<boolean> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; await sleep(LOOK_MS)) {
    if (isSo()) return true
  }
  return false
}

function inodeOf(entry: RuntimeEntry): number | undefined {
  const folder = openEntry(entry)
  try {
    return folder?.stat().ino
  } finally {
    folder?.close()
  }
}

/** What removes changes is loaded only where there are some. */
async function sweep(metadataDir: string | undefined): Promise<void> {
  let some = false
  forEachRunDir(metadataDir, (runDir) =>
    forEachAside(runDir, () => {
      some = true
    }),
  )
  if (!some) return
  const { sweepAllChanges } = await import('../runtime/changes.ts')
  sweepAllChanges(metadataDir, () => undefined)
}

async function detach(path: string, lazy: boolean): Promise<void> {
  try {
    await unmountFuse(path, lazy)
  } catch (error) {
    if (!isErrno(error, 'EBUSY')) throw error
    if (!(await isDead(path))) {
      throw new FsError(
        'EBUSY',
        `${path} is busy: end the programs that use it ('fuser -vm ${path}' lists them), or use 'umount --lazy'`,
        { cause: error },
      )
    }
    // Files that are open on a dead mount only give errors.
    await unmountFuse(path, true)
  }
}

function isStale(entry: RuntimeEntry): boolean {
  return entry.daemon === undefined || livenessOf(entry.daemon.process) === 'gone'
}
