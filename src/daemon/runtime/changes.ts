import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, type Log, messageOf, type PathText } from '../../base/index.ts'
import {
  type ChangesPlace,
  type DirectoryPlace,
  HeldError,
  hostDirectories,
  type MoleculeSpec,
  type NamedDirectory,
  type OpenUpper,
  openUpper,
  removeChanges,
  shownPaths,
  syncUpper,
  upperPaths,
  viewUpper,
} from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { realPathOrItself } from '../../sys/files/real-path.ts'
import { readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { raiseOpenFiles } from '../../sys/process/limits.ts'
import { setUmask0 } from '../../sys/process/session.ts'
import { sweepElsewhere } from './elsewhere.ts'
import {
  forEachAside,
  forEachRunDir,
  listEntries,
  type OwnEntry,
  type RuntimeEntry,
  TEMPORARY_CHANGES,
} from './entries.ts'
import { refuseInside, refuseOver } from './target.ts'

/** A daemon whose mount is gone writes its data back, and then lets go of its upper directory. */
const RELEASE_TIMEOUT_MS = 5000
const RELEASE_INTERVAL_MS = 20

/** What `config.json` calls `WriteableOverlayPath`: the folder as it was asked for. */
export function changesFolder(place: ChangesPlace | undefined): string {
  if (place?.kind === 'persist') return place.folder
  return place?.kind === 'upper' || place?.kind === 'pair' ? place.upper : ''
}

/** What is asked for of the upper directory of a mount. */
export interface ChangesWish {
  /** The place in the request, or what stands for it. */
  readonly place: DirectoryPlace
  readonly options: Pick<MountRequest['options'], 'showsOnly' | 'upper'>
  readonly target: PathText
  readonly metadataDir?: PathText | undefined
}

/**
 * Opens the upper directory that a request asks for, before anything is mounted.
 * @param changes the place in the request, or what stands for it
 * @returns undefined for a mount without one
 * @throws FsError as `openPlace`
 */
export async function openChanges(
  request: MountRequest,
  changes: DirectoryPlace | undefined,
  entry: OwnEntry,
  target: string,
  spec: MoleculeSpec,
): Promise<OpenUpper | undefined> {
  if (changes === undefined) return undefined
  const { options, metadataDir } = request
  const lowers = hostDirectories(spec).map(({ label, fd }) => ({ what: `lower directory ${label}`, fd }))
  return await openPlace({ place: changes, options, target, metadataDir }, lowers, entry.held.entry)
}

/**
 * As `openChanges`, for a process that has no runtime entry.
 * @param folder for changes that go away with the mount
 * @throws FsError as `openUpper`; EBUSY naming the mount that has it; EINVAL where it and the target overlap
 */
export async function openPlace(
  wish: ChangesWish,
  lowers: readonly NamedDirectory[],
  folder?: Folder,
): Promise<OpenUpper> {
  const { place, options, target } = wish
  const temporary = folder?.pathOf(TEMPORARY_CHANGES) ?? ''
  if (options.showsOnly) {
    const shown = shownPaths(place, temporary)
    const view = await whenFree(() => viewUpper(shown, lowers), wish)
    refuseOverlap(target, [shown.upper], place)
    return view
  }
  const paths = upperPaths(place, temporary)
  // Modes come from the kernel with the umask of the caller taken away, and copies have those of their layer.
  setUmask0()
  raiseOpenFiles()
  // Other users may look into the runtime folder; the changes are for the owner alone.
  const within = paths.temporary ? folder?.make(TEMPORARY_CHANGES, 0o700) : undefined
  let upper: OpenUpper
  try {
    upper = await whenFree(() => openUpper(paths, options.upper, lowers, within), wish)
  } finally {
    within?.close()
  }
  try {
    refuseOverlap(target, [paths.upper, paths.work], place)
    return upper
  } catch (error) {
    upper.undo()
    throw error
  }
}

/**
 * Runtimes mount an overlay over the folder that holds its own directories (enroot does), and do not look for them
 * there any more; who names a directory in a mount of an image expects to find it again.
 * @throws FsError EINVAL
 */
function refuseOverlap(target: string, directories: readonly string[], place: DirectoryPlace): void {
  refuseInside(target, directories)
  if (place.kind !== 'pair') refuseOver(target, directories)
}

/** The end of a mount: everything is on the disk before its process ends. Never throws. */
export function closeChanges(upper: OpenUpper, failed: boolean, log: Log): void {
  try {
    if (failed) upper.undo()
    else syncUpper(upper.spec)
  } catch (error) {
    log('error', `${upper.spec.label}: ${messageOf(error)}`)
  }
  upper.unlock()
}

async function whenFree(open: () => OpenUpper, wish: ChangesWish): Promise<OpenUpper> {
  const deadline = performance.now() + RELEASE_TIMEOUT_MS
  for (;;) {
    try {
      return open()
    } catch (error) {
      if (!(error instanceof HeldError)) throw error
      const holder = holderOf(error, wish)
      const device = holder?.daemon?.device
      const isMounted = device !== undefined && readMountInfo().some((mount) => mount.device === device)
      if (isMounted) {
        throw new FsError(
          'EBUSY',
          `${error.what} is in use by the mount on ${holder?.config.Target} (process ${error.pid}): unmount that first`,
        )
      }
      if (performance.now() >= deadline) throw error
    }
    await sleep(RELEASE_INTERVAL_MS)
  }
}

/** The mount that has what is wanted. Of a server of several mounts it is one that keeps its changes there. */
function holderOf({ pid, what }: HeldError, { metadataDir }: ChangesWish): RuntimeEntry | undefined {
  const held = realPathOrItself(what.replace(/^\w+ directory /, ''))
  const keepsThere = (folder: PathText): boolean =>
    folder !== '' && [folder, persistIn(folder)].some((path) => realPathOrItself(path) === held)
  return listEntries(metadataDir).find(
    ({ daemon, config }) =>
      daemon?.process.pid === pid && (daemon?.shared !== true || keepsThere(config.WriteableOverlayPath)),
  )
}

function persistIn(folder: PathText): PathText {
  return upperPaths({ kind: 'persist', folder }, '').upper
}

/**
 * Removes temporary changes that no mount uses any more, also those of a daemon that was killed. Never throws.
 * @param remove removes one
 */
export function sweepChanges(runDir: Folder, log: Log, remove = removeChanges): void {
  forEachAside(runDir, (aside, name) => {
    try {
      remove(aside, name)
    } catch (error) {
      // Another process is at it.
      log('debug', `${aside.pathOf(name)} stays: ${messageOf(error)}`)
    }
  })
}

/**
 * As `sweepChanges`, wherever a mount of this user may have left some, in other mount namespaces, too. Entries of killed
 * daemons there go as well.
 */
export function sweepAllChanges(metadataDir: PathText | undefined, log: Log): void {
  forEachRunDir(metadataDir, (runDir) => {
    try {
      sweepElsewhere(runDir)
    } catch (error) {
      log('debug', `${runDir.path}: ${messageOf(error)}`)
    }
    sweepChanges(runDir, log)
  })
}
