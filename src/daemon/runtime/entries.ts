import { randomUUID } from 'node:crypto'
import { codeOf, type ErrnoCode, FsError, omitUndefined, type PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { withFolderLock } from '../../sys/files/lock.ts'
import { descriptorOf } from '../../sys/plain/proc.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { livenessOf, type ProcessIdentity } from '../../sys/process/process.ts'
import { isEntryLocked, lockEntry } from './entry-lock.ts'
import { namesOf, namesOfDescriptor } from './entry-name.ts'
import { makeRunDir, openEntries, openRunDir, type RunDirCandidate, runDirCandidates } from './folders.ts'

/** atomfs' `config.json`, with the names and the order of its Go structure. */
export interface MoleculeConfig {
  /** Empty where the source is a squashfs file; then `Tag` is its path. */
  readonly OCIDir: string
  readonly Tag: string
  readonly Target: string
  readonly AddWriteableOverlay: boolean
  readonly WriteableOverlayPath: string
  readonly AllowMissingVerityData: boolean
  readonly MetadataDir: string
}

/** `daemon.json`: who serves the mount. */
export interface DaemonRecord {
  readonly process: ProcessIdentity
  /** `mounted` only after the mount exists: before, its absence proves nothing. */
  readonly state: 'starting' | 'mounted'
  /** `major:minor` of the mount where it is known. */
  readonly device?: string
  /** The process serves other mounts, too, and goes on after the end of this one. */
  readonly shared?: true
}

/** The folder of one target: `RUNDIR/meta/<mount namespace>/<target>/`. */
export interface RuntimeEntry {
  /** For messages, and for people: nothing is opened by it. */
  readonly folder: PathText
  readonly candidate: RunDirCandidate
  /** Of the folder, among those of its mount namespace. */
  readonly name: PathText
  readonly config: MoleculeConfig
  /** Undefined if the file is missing or damaged: the daemon that made the entry has ended. */
  readonly daemon: DaemonRecord | undefined
}

/** The entry of a mount in its own process, which holds all that it needs of it later. */
export interface OwnEntry extends RuntimeEntry {
  readonly held: EntryFolders
}

export interface EntryFolders {
  readonly runDir: Folder
  /** All entries of this mount namespace. */
  readonly entries: Folder
  /** This one, with the lock of `entry-lock.ts`. */
  readonly entry: Folder
}

/** Name of the control socket within an entry; the control channel binds it. */
export const CONTROL_SOCKET = 'control.sock'
export const LOG_FILE = 'log'
/** The changes of a writable mount that are thrown away with it. */
export const TEMPORARY_CHANGES = 'changes'
/** In RUNDIR: where those of mounts that are over wait for their removal. */
const CHANGES_ASIDE = 'changes'

/**
 * Makes the entry of a target. An entry whose daemon is gone, or whose mount is gone while the daemon still
 * drains, is replaced.
 * @param isMounted whether the mount that an entry records is still at its target
 * @throws FsError EBUSY when a living daemon has the target; EACCES, ENOSPC, EROFS, … naming the folder. Nothing is left
 *   then.
 */
export function createEntry(
  config: MoleculeConfig,
  daemon: DaemonRecord,
  isMounted: (entry: RuntimeEntry) => boolean,
): OwnEntry {
  const { candidate, folder: runDir, entries } = makeRunDir(runDirCandidates(config.MetadataDir || undefined))
  try {
    return withFolderLock(entries.fd, entries.path, () => {
      const isDescriptor = descriptorOf(config.Target) !== undefined
      for (const name of isDescriptor ? namesOfDescriptor(config.Target) : namesOf(config.Target)) {
        if (entries.statOf(name) !== undefined) {
          if (isDescriptor && isHeld(entries, name)) continue
          const other = isDescriptor ? undefined : readEntry(entries, name, candidate)
          if (other !== undefined && isLive(other, isMounted)) {
            if (other.config.Target !== config.Target) continue
            throw new FsError(
              'EBUSY',
              `${config.Target} is being mounted or is mounted already: unmount it first`,
            )
          }
          removeFolder(runDir, entries, name)
        }
        const entry = makeEntry(entries, name, config, daemon)
        const held = { runDir, entries, entry }
        return { folder: entry.path, candidate, name, config, daemon, held }
      }
      throw new FsError('EBUSY', `${config.Target}: its runtime entry belongs to another mount`)
    })
  } catch (error) {
    runDir.close()
    entries.close()
    throw placeError(error, entries.path)
  }
}

/** Whether the daemon of an entry has not ended. No mount can be asked for, whose place only its caller knows. */
function isHeld(entries: Folder, name: PathText): boolean {
  const entry = entries.find(name)
  try {
    return entry !== undefined && isEntryLocked(entry)
  } finally {
    entry?.close()
  }
}

function makeEntry(entries: Folder, name: PathText, config: MoleculeConfig, daemon: DaemonRecord): Folder {
  let entry: Folder | undefined
  try {
    entry = lockEntry(entries.make(name, 0o755))
    writeJson(entry, 'config.json', config)
    writeJson(entry, 'daemon.json', daemon)
    return entry
  } catch (error) {
    entry?.close()
    entries.remove(name)
    throw error
  }
}

/** What the system says of a folder for runtime data, in words that lead on. */
function placeError(error: unknown, path: PathText): unknown {
  const code = codeOf(error)
  if (code === undefined || !(code in ADVICE)) return error
  const text = `runtime data cannot be written to ${path} (${code}): ${ADVICE[code]}, or name another folder with --metadir`
  return new FsError(code as ErrnoCode, text, { cause: error })
}

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'make room there',
  EDQUOT: 'make room in your quota',
  EROFS: 'make that file system writable',
  EACCES: 'make that folder writable',
  EPERM: 'make that folder writable',
}

function isLive(entry: RuntimeEntry, isMounted: (entry: RuntimeEntry) => boolean): boolean {
  const daemon = entry.daemon
  if (daemon === undefined) return false
  const liveness = livenessOf(daemon.process)
  if (liveness === 'gone') return false
  // Of a daemon in another pid namespace only its mount can be seen.
  return (liveness === 'alive' && daemon.state === 'starting') || isMounted(entry)
}

/** Records that the mount exists. @throws FsError ENOSPC, … */
export function markMounted(entry: OwnEntry, device: string | undefined): OwnEntry {
  if (entry.daemon === undefined) return entry
  const daemon: DaemonRecord = {
    ...entry.daemon,
    state: 'mounted',
    ...omitUndefined({ device }),
  }
  try {
    writeJson(entry.held.entry, 'daemon.json', daemon)
  } catch (error) {
    throw placeError(error, entry.folder)
  }
  return { ...entry, daemon }
}

/** Removes an entry of this process, unless another process has replaced it. Never throws: the mount is over anyway. */
export function removeOwnEntry(entry: OwnEntry): void {
  // A server of several mounts may have made another entry of that name.
  if (entry.held.entries.statOf(entry.name)?.ino === entry.held.entry.stat().ino)
    removeFrom(entry.held, entry)
}

/** Closes the folders of an entry of this process, which ends its lock. */
export function closeEntry({ held: { runDir, entries, entry } }: OwnEntry): void {
  for (const folder of [entry, entries, runDir]) folder.close()
}

/** Removes an entry that was looked up, if it is this user's and no other process has replaced it. Never throws. */
export function removeEntry({ candidate, ...entry }: RuntimeEntry): void {
  const runDir = openRunDir(candidate)
  if (runDir === undefined) return
  const entries = openEntries(runDir)
  // What others have made stays, also for root: `--metadir` may name a folder of theirs.
  if (entries?.stat().uid === effectiveUid()) removeFrom({ runDir, entries }, entry)
  entries?.close()
  runDir.close()
}

function removeFrom(
  { runDir, entries }: Pick<EntryFolders, 'runDir' | 'entries'>,
  { name, daemon }: Pick<RuntimeEntry, 'name' | 'daemon'>,
): void {
  try {
    withFolderLock(entries.fd, entries.path, () => {
      const present = readDaemon(entries, name)?.process
      const own = daemon?.process
      if (present?.pid === own?.pid && present?.startTime === own?.startTime) {
        removeFolder(runDir, entries, name)
      }
    })
  } catch {
    // The folder is gone with RUNDIR, or the disk fails: a stale entry heals at the next mount.
  }
}

/** Removes an entry whose folder is locked by the caller, and sets its temporary changes aside. @throws FsError EACCES, … */
export function removeFolder(runDir: Folder, entries: Folder, name: PathText): void {
  const entry = entries.find(name)
  if (entry !== undefined) {
    setChangesAside(runDir, entry)
    entry.close()
  }
  entries.remove(name)
}

/**
 * Moves the temporary changes out of the folder of an entry, because open files may still need them when the place of
 * the mount is free: `sweepChanges` removes them when their last user has ended.
 */
export function setChangesAside(runDir: Folder, entry: Folder): void {
  if (entry.statOf(TEMPORARY_CHANGES) === undefined) return
  const aside = runDir.make(CHANGES_ASIDE, 0o700)
  try {
    const { uid } = aside.stat()
    if (uid !== effectiveUid()) throw new FsError('EPERM', `${aside.path} belongs to user ${uid}`)
    entry.rename(TEMPORARY_CHANGES, aside, randomUUID())
  } finally {
    aside.close()
  }
}

/**
 * Runs `use` with each folder of changes whose mount is over, as far as its place in the tree goes. Only those of this
 * user: what others have prepared is nothing to be swept.
 */
export function forEachAside(runDir: Folder, use: (aside: Folder, name: PathText) => void): void {
  const aside = runDir.find(CHANGES_ASIDE)
  if (aside === undefined) return
  try {
    const own = effectiveUid()
    if (aside.stat().uid !== own) return
    for (const name of aside.names()) if (aside.statOf(name)?.uid === own) use(aside, name)
  } finally {
    aside.close()
  }
}

/** Runs `use` with each RUNDIR in which a mount of this user may have put something. */
export function forEachRunDir(
  metadataDir: PathText | undefined,
  use: (runDir: Folder, candidate: RunDirCandidate) => void,
): void {
  for (const candidate of runDirCandidates(metadataDir)) {
    const runDir = openRunDir(candidate)
    if (runDir === undefined) continue
    try {
      use(runDir, candidate)
    } finally {
      runDir.close()
    }
  }
}

/** The entry of a target in this mount namespace, wherever a mount without `--metadir` may have put it. */
export function findEntry(target: PathText, metadataDir: PathText | undefined): RuntimeEntry | undefined {
  const names = [...namesOf(target)]
  const found = lookUp(metadataDir, () => names)
  return found.find((entry) => entry.config.Target === target)
}

/** All entries of this mount namespace. */
export function listEntries(metadataDir: PathText | undefined): readonly RuntimeEntry[] {
  return lookUp(metadataDir, (entries) => entries.names())
}

/** @param names which of the entries of a RUNDIR are wanted */
function lookUp(
  metadataDir: PathText | undefined,
  names: (entries: Folder) => readonly PathText[],
): readonly RuntimeEntry[] {
  const found: RuntimeEntry[] = []
  forEachRunDir(metadataDir, (runDir, candidate) => {
    const entries = openEntries(runDir)
    if (entries === undefined) return
    try {
      for (const name of names(entries)) {
        const entry = readEntry(entries, name, candidate)
        if (entry !== undefined) found.push(entry)
      }
    } finally {
      entries.close()
    }
  })
  return found
}

/**
 * Opens the folder of an entry that was looked up; the caller closes it.
 * @returns undefined where it is gone by now
 */
export function openEntry({ candidate, name }: RuntimeEntry): Folder | undefined {
  const runDir = openRunDir(candidate)
  const entries = runDir && openEntries(runDir)
  try {
    return entries?.find(name)
  } finally {
    entries?.close()
    runDir?.close()
  }
}

/** @returns undefined where there is no entry, or one without a readable config */
function readEntry(entries: Folder, name: PathText, candidate: RunDirCandidate): RuntimeEntry | undefined {
  const folder = entries.find(name)
  if (folder === undefined) return undefined
  try {
    const config = readJson(folder, 'config.json') as Partial<MoleculeConfig> | undefined
    if (typeof config?.Target !== 'string') return undefined
    const daemon = daemonIn(folder)
    return { folder: folder.path, candidate, name, config: config as MoleculeConfig, daemon }
  } finally {
    folder.close()
  }
}

/** Who serves the mount of an entry; undefined where nothing whole says so. */
export function readDaemon(entries: Folder, name: PathText): DaemonRecord | undefined {
  const folder = entries.find(name)
  try {
    return folder && daemonIn(folder)
  } finally {
    folder?.close()
  }
}

function daemonIn(folder: Folder): DaemonRecord | undefined {
  const daemon = readJson(folder, 'daemon.json') as Partial<DaemonRecord> | undefined
  const isComplete = typeof daemon?.process?.pid === 'number' && typeof daemon.process.startTime === 'number'
  return isComplete ? (daemon as DaemonRecord) : undefined
}

function readJson(folder: Folder, name: string): unknown {
  try {
    const value: unknown = JSON.parse(folder.read(name) ?? '')
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function writeJson(folder: Folder, name: string, value: object): void {
  folder.write(name, `${JSON.stringify(value)}\n`)
}
