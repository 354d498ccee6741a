import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodePath, FsError, type PathText, printable } from '../base/index.ts'
import { withFolderLock } from '../sys/lock.ts'
import { namespaceNumber } from '../sys/namespaces.ts'
import { livenessOf, type ProcessIdentity } from '../sys/process.ts'
import { isTrusted, makeRunDir, runDirCandidates } from './run-dir.ts'

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
}

/** The folder of one target: `RUNDIR/meta/<mount namespace>/<target>/`. */
export interface RuntimeEntry {
  readonly folder: string
  readonly config: MoleculeConfig
  /** Undefined where the file is missing or damaged: whoever made the entry is gone. */
  readonly daemon: DaemonRecord | undefined
}

/** Longest name of a folder (NAME_MAX of every common file system), bytes. */
const NAME_MAX = 255

/** Name of the control socket within an entry; the control channel binds it. */
export const CONTROL_SOCKET = 'control.sock'
export const LOG_FILE = 'log'
/** The changes of a writable mount that are thrown away with it. */
export const TEMPORARY_CHANGES = 'changes'

/**
 * Name of a target's folder: the absolute path without its first slash, other slashes as dashes, as atomfs
 * has it. What is too long for a file name is cut and ends in a hash of the whole.
 */
export function entryName(target: string): string {
  const dashed = dashedName(target)
  return Buffer.byteLength(dashed) <= NAME_MAX ? dashed : distinctName(target)
}

/** Bytes that are no UTF-8 are written out. */
function dashedName(target: PathText): string {
  return printable(target.slice(1).replaceAll('/', '-'))
}

/** Two targets can have the same dashed name (`/a/b`, `/a-b`): the later one gets this name. */
function distinctName(target: string): string {
  const hash = createHash('sha256').update(encodePath(target)).digest('hex').slice(0, 32)
  let head = dashedName(target)
  while (Buffer.byteLength(head) > NAME_MAX - hash.length - 1) {
    head = Array.from(head).slice(0, -1).join('')
    const excess = Buffer.byteLength(head) - (NAME_MAX - hash.length - 1)
    // A character is at most four bytes, so this many can go at once.
    if (excess > 4)
      head = Array.from(head)
        .slice(0, -Math.floor(excess / 4))
        .join('')
  }
  return `${head}-${hash}`
}

/**
 * Makes the entry of a target. An entry whose daemon is gone, or whose mount is gone while the daemon still
 * drains, is replaced.
 * @param isMounted whether the recorded mount is still at the target
 * @throws FsError EBUSY when a living daemon has the target
 */
export function createEntry(
  config: MoleculeConfig,
  daemon: DaemonRecord,
  isMounted: (record: DaemonRecord) => boolean,
): RuntimeEntry {
  const runDir = makeRunDir(runDirCandidates(config.MetadataDir || undefined))
  const folder = join(runDir, 'meta', namespaceFolder())
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  return withFolderLock(folder, () => {
    for (const name of [entryName(config.Target), distinctName(config.Target)]) {
      const path = join(folder, name)
      if (existsSync(path)) {
        const other = readEntry(path)
        if (other !== undefined && isLive(other, isMounted)) {
          if (other.config.Target !== config.Target) continue
          throw new FsError(
            'EBUSY',
            `${config.Target} is being mounted or is mounted already: unmount it first`,
          )
        }
        removeFolder(path)
      }
      mkdirSync(path, { mode: 0o755 })
      writeJson(path, 'config.json', config)
      writeJson(path, 'daemon.json', daemon)
      return { folder: path, config, daemon }
    }
    throw new FsError('EBUSY', `${config.Target}: its runtime entry belongs to another mount`)
  })
}

function isLive(entry: RuntimeEntry, isMounted: (record: DaemonRecord) => boolean): boolean {
  const daemon = entry.daemon
  if (daemon === undefined) return false
  const liveness = livenessOf(daemon.process)
  if (liveness === 'gone') return false
  // Of a daemon in another pid namespace only its mount can be seen.
  return (liveness === 'alive' && daemon.state === 'starting') || isMounted(daemon)
}

/** Records that the mount exists. */
export function markMounted(entry: RuntimeEntry, device: string | undefined): RuntimeEntry {
  if (entry.daemon === undefined) return entry
  const daemon: DaemonRecord = {
    ...entry.daemon,
    state: 'mounted',
    ...(device === undefined ? {} : { device }),
  }
  writeJson(entry.folder, 'daemon.json', daemon)
  return { ...entry, daemon }
}

/** Removes an entry unless it is somebody else's by now. Never throws: the mount is over anyway. */
export function removeEntry(entry: RuntimeEntry): void {
  try {
    withFolderLock(join(entry.folder, '..'), () => {
      const present = readEntry(entry.folder)?.daemon?.process
      const own = entry.daemon?.process
      if (present?.pid === own?.pid && present?.startTime === own?.startTime) {
        removeFolder(entry.folder)
      }
    })
  } catch {
    // The folder is gone with RUNDIR, or the disk fails: a stale entry heals at the next mount.
  }
}

function removeFolder(folder: string): void {
  setChangesAside(folder)
  rmSync(folder, { recursive: true, force: true })
}

/**
 * Moves the temporary changes out of the folder of an entry, because open files may still need them when the place of
 * the mount is free: `sweepChanges` removes them once nobody uses them.
 */
export function setChangesAside(folder: string): void {
  const changes = join(folder, TEMPORARY_CHANGES)
  if (!existsSync(changes)) return
  const aside = asideFolder(join(folder, '../../..'))
  mkdirSync(aside, { recursive: true, mode: 0o700 })
  renameSync(changes, join(aside, randomUUID()))
}

/** Where changes wait for their removal. @param runDir RUNDIR */
function asideFolder(runDir: string): string {
  return join(runDir, 'changes')
}

/** Folders of changes whose mount is over, as far as its place in the tree goes. */
export function listChangesAside(metadataDir: string | undefined): readonly string[] {
  return runDirCandidates(metadataDir)
    .filter(isTrusted)
    .map(asideFolder)
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
}

/** The entry of a target in this mount namespace, wherever a mount without `--metadir` may have put it. */
export function findEntry(target: string, metadataDir: string | undefined): RuntimeEntry | undefined {
  for (const runDir of runDirCandidates(metadataDir).filter(isTrusted)) {
    for (const name of [entryName(target), distinctName(target)]) {
      const entry = readEntry(join(runDir, 'meta', namespaceFolder(), name))
      if (entry?.config.Target === target) return entry
    }
  }
  return undefined
}

/** All entries of this mount namespace. */
export function listEntries(metadataDir: string | undefined): readonly RuntimeEntry[] {
  const folders = runDirCandidates(metadataDir)
    .filter(isTrusted)
    .map((runDir) => join(runDir, 'meta', namespaceFolder()))
    .filter((folder) => existsSync(folder))
  return folders
    .flatMap((folder) => readdirSync(folder).map((name) => readEntry(join(folder, name))))
    .filter((entry) => entry !== undefined)
}

function namespaceFolder(): string {
  return String(namespaceNumber('mnt') ?? 0)
}

/** @returns undefined where there is no entry, or one without a readable config */
function readEntry(folder: string): RuntimeEntry | undefined {
  const config = readJson(join(folder, 'config.json')) as Partial<MoleculeConfig> | undefined
  if (typeof config?.Target !== 'string') return undefined
  const daemon = readJson(join(folder, 'daemon.json')) as Partial<DaemonRecord> | undefined
  const isComplete = typeof daemon?.process?.pid === 'number' && typeof daemon.process.startTime === 'number'
  return {
    folder,
    config: config as MoleculeConfig,
    daemon: isComplete ? (daemon as DaemonRecord) : undefined,
  }
}

function readJson(path: string): unknown {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** A reader sees the old file or the new one, never half of it. */
function writeJson(folder: string, name: string, value: object): void {
  const temporary = join(folder, `${name}.new`)
  writeFileSync(temporary, `${JSON.stringify(value)}\n`, { mode: 0o644 })
  renameSync(temporary, join(folder, name))
}
