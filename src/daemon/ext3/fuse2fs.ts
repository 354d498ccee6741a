import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, FsError, type Log, messageOf, type PathText, systemPath } from '../../base/index.ts'
import type { DirectoryPlace, UpperImage } from '../../molecule/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { withTimeout } from '../../sys/plain/promises.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import type { OwnEntry } from '../runtime/entries.ts'
import { letGoOf } from './held-descriptors.ts'
import { makePlace } from './place.ts'
import { findFuse2fs } from './program.ts'

/** Reading the tables of a large file system takes its time on a slow disk. */
const MOUNT_TIMEOUT_MS = 60_000
const POLL_MS = 10
/** What it has in memory goes to the disk at its end. */
const END_TIMEOUT_MS = 600_000
/** In the runtime entry: what the program says. */
const MESSAGES_FILE = 'fuse2fs'
/** The number under which the program finds its file. */
const IMAGE_FD = 3

/** The directories of an overlay, as Apptainer has them (`apptainer overlay create`). */
const UPPER = 'upper'
const WORK = 'work'

/** An ext3 file system that another program serves. */
export interface Ext3Mount {
  readonly changes: DirectoryPlace
  /** As soon as the directories are open: takes the mount out of the tree. It lives as long as something of it is open. */
  detach(): Promise<void>
  /** Lets go of all that is open, and waits until everything is on the disk. Never throws. */
  end(): Promise<void>
}

/**
 * Starts fuse2fs for a file system, and waits until it serves.
 *
 * It is mounted for a moment only, at a place that nobody else uses. Then it has none, and lives as long as this process
 * has its directories open: when the process ends, in whatever way, the kernel tells fuse2fs that its mount is over. The
 * lock is that of the open file that fuse2fs inherits, so it lasts until everything is written.
 * @throws FsError why not, in one line; nothing is left then
 */
export async function mountExt3(image: UpperImage, { held }: OwnEntry, log: Log): Promise<Ext3Mount> {
  const program = findFuse2fs()
  const messages = held.entry.openFile(
    MESSAGES_FILE,
    constants.O_CREAT | constants.O_RDWR | constants.O_APPEND,
    0o600,
  )
  const standIn = openSync('/dev/null', 'r')
  const place = makePlace(held.runDir)
  const child = start(program, image, place.path, messages)
  closeSync(messages)
  const exit = exitOf(child)
  const said = (): string => lastLine(held.entry)
  let isAttached = true
  const detach = async (): Promise<void> => {
    if (!isAttached) return
    isAttached = false
    if (topMountAt(readMountInfo(), place.path) !== undefined) await unmountFuse(place.path, true)
    place.remove()
  }
  let mountId = -1
  let isEnding = false
  const end = async (): Promise<void> => {
    isEnding = true
    try {
      await detach()
      if (mountId >= 0) letGoOf(mountId, standIn)
      else child.kill('SIGTERM')
      const how = await withTimeout(exit, END_TIMEOUT_MS, `${image.label}: fuse2fs has not ended`)
      if (how !== 'exit code 0' && mountId >= 0) log('error', `${image.label}: fuse2fs: ${how}: ${said()}`)
    } catch (error) {
      log('error', messageOf(error))
    }
    closeSync(standIn)
  }
  try {
    mountId = await mounted(place.path, exit, said)
    void exit.then((how) => {
      if (!isEnding)
        log('error', `${image.label}: fuse2fs: ${how}: ${said()}: nothing can be changed any more`)
    })
    const [upper, work] = [join(place.path, UPPER), join(place.path, WORK)]
    makeMissing(upper, 0o755)
    makeMissing(work, 0o700)
    return { changes: { kind: 'pair', upper, work }, detach, end }
  } catch (error) {
    await end()
    throw error
  }
}

function start(
  program: string,
  { fd, offset }: UpperImage,
  target: PathText,
  messages: number,
): ChildProcess {
  // As Apptainer calls it: without root nobody else gets in, and owners are nobody's business.
  const options = [...(offset > 0 ? [`offset=${offset}`] : []), ...(effectiveUid() === 0 ? [] : ['fakeroot'])]
  const words = [
    '-f',
    ...(options.length > 0 ? ['-o', options.join(',')] : []),
    `/proc/self/fd/${IMAGE_FD}`,
    target,
  ]
  const child = spawn(program, words, {
    // What it says on stdout is that it writes no journal.
    stdio: ['ignore', 'ignore', messages, fd],
    cwd: '/',
    // Ctrl-C is for the mount above it, which ends first.
    detached: true,
  })
  child.unref()
  // From here on it alone has the lock.
  closeSync(fd)
  return child
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`cannot be started: ${error.message}`))
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`),
    )
  })
}

/** @returns the number of the mount. @throws FsError */
async function mounted(target: PathText, exit: Promise<string>, said: () => string): Promise<number> {
  const deadline = performance.now() + MOUNT_TIMEOUT_MS
  for (;;) {
    const mount = topMountAt(readMountInfo(), target)
    if (mount !== undefined) {
      const answer = withTimeout(stat(systemPath(target)), MOUNT_TIMEOUT_MS, 'fuse2fs does not answer')
      await Promise.race([answer, exit.then((how) => raise(how, said()))])
      return mount.mountId
    }
    const how = await Promise.race([exit, sleep(POLL_MS, undefined)])
    if (how !== undefined) raise(how, said())
    if (performance.now() > deadline)
      throw new FsError('EIO', `fuse2fs has not mounted after ${MOUNT_TIMEOUT_MS} ms`)
  }
}

function raise(how: string, said: string): never {
  throw new FsError('EIO', `fuse2fs: ${said === '' ? how : `${said} (${how})`}`)
}

/** What the program said last; empty where it said nothing. */
function lastLine(entry: Folder): string {
  return (entry.read(MESSAGES_FILE) ?? '').trim().split('\n').at(-1) ?? ''
}

function makeMissing(directory: PathText, mode: number): void {
  try {
    mkdirSync(systemPath(directory), { mode })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') {
      throw new FsError('EIO', `fuse2fs: ${directory} cannot be made: ${codeOf(error)}`, { cause: error })
    }
  }
}
