import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { codeOf, FsError, isErrno, type PathText, PERMISSIONS } from '../../base/index.ts'
import { assertWritable } from '../../sys/files/at.ts'
import { Folder } from '../../sys/files/folder.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { isHostRoot, isInitialUserNamespace, namespaceNumber, outerUid } from '../../sys/plain/namespaces.ts'
import { isOpenToStrangers, isOwnAndClosed } from '../../sys/plain/owner.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'

/** A folder that may be RUNDIR. */
export interface RunDirCandidate {
  readonly path: PathText
  /**
   * The user named it (`--metadir`): it may be shared, and only what this program makes in it must be the user's. Any
   * other candidate must belong to the user and be closed to writing by others, or it does not count.
   */
  readonly named: boolean
}

/** Variable of the environment that names RUNDIR before everything else, for tests; the name is that of atomfs. */
export const TEST_OVERRIDE_RUNTIME_DIR_KEY = 'ATOMFS_TEST_RUN_DIR'

/** Modes: anybody may see which mounts there are; what is private is so itself. */
const FOLDER_MODE = 0o755

/**
 * The folders that may be RUNDIR, best first. A folder that the caller chose is the only one; else atomfs' own place for
 * root, the user's runtime folder, and last a private folder under the temporary one, because a session without login
 * (su, CI) has no XDG_RUNTIME_DIR. In a user namespace the user's own comes first: what is called /run/atomfs there
 * belongs to root of the machine, or to another namespace. The last one has a name that another user cannot take
 * beforehand, so there may be several.
 */
export function runDirCandidates(
  metadataDir: PathText | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): readonly RunDirCandidate[] {
  const fixed = environment[TEST_OVERRIDE_RUNTIME_DIR_KEY] || metadataDir
  if (fixed) return [{ path: absolutePath(fixed), named: true }]
  const xdg = environment['XDG_RUNTIME_DIR']
  const forRoot = effectiveUid() === 0 ? ['/run/atomfs'] : []
  const forUser = xdg?.startsWith('/') ? [join(xdg, 'atomfs')] : []
  const paths = isInitialUserNamespace()
    ? [...forRoot, ...forUser]
    : [...forUser, `/run/user/${outerUid()}/atomfs`, ...forRoot]
  return [...paths, ...temporaryFolders()].map((path) => ({ path, named: false }))
}

/**
 * Opens RUNDIR of a mount and makes it where it is missing: the first candidate that is ours and can be written to.
 * @throws FsError naming what was tried and what to do
 */
export function makeRunDir(candidates: readonly RunDirCandidate[]): RunDir {
  const tried: string[] = []
  const attempt = (path: PathText, open: () => RunDir): RunDir | undefined => {
    try {
      return open()
    } catch (error) {
      tried.push(`${path} (${reasonOf(error)})`)
      return undefined
    }
  }
  for (const candidate of candidates) {
    const found = attempt(candidate.path, () => makeFolders(openCandidate(candidate, FOLDER_MODE), candidate))
    if (found !== undefined) return found
  }
  if (!candidates.some((candidate) => candidate.named)) {
    const found = attempt(`${temporaryPrefix()}*`, makeTemporary)
    if (found !== undefined) return found
  }
  throw new FsError(
    'EACCES',
    `no folder for runtime data: tried ${tried.join(', ')}; give one of yours, with room in it, with --metadir`,
  )
}

/** RUNDIR, and the folder in it for the entries of this mount namespace. */
export interface RunDir {
  readonly candidate: RunDirCandidate
  readonly folder: Folder
  readonly entries: Folder
}

/**
 * Opens what exists of a candidate, to look something up there.
 * @returns undefined where there is nothing, or nothing to be believed
 */
export function openRunDir(candidate: RunDirCandidate): Folder | undefined {
  try {
    return openCandidate(candidate)
  } catch {
    return undefined
  }
}

/** Opens the entries of this mount namespace, to look at them. */
export function openEntries(runDir: Folder): Folder | undefined {
  const meta = runDir.find('meta')
  try {
    return meta?.find(namespaceFolder())
  } finally {
    meta?.close()
  }
}

/** @param make mode of what is made where it is missing */
function openCandidate({ path, named }: RunDirCandidate, make?: number): Folder {
  if (named) {
    const options = make === undefined ? { guarded: false } : { make, guarded: isHostRoot() }
    const folder = Folder.open(path, options)
    // What we make in it must stay where it is.
    return make === undefined ? folder : checked(folder, (stat) => !isHostRoot() || !isOpenToStrangers(stat))
  }
  // The parent of such a candidate must exist already, and a symbolic link does not count as the folder.
  const parent = Folder.open(dirname(path), { guarded: isHostRoot() })
  try {
    if (isHostRoot() && isOpenToStrangers(parent.stat())) {
      throw new FsError('EPERM', `${parent.path} can be changed by others than root`)
    }
    const name = basename(path)
    return checked(make === undefined ? parent.folder(name) : parent.make(name, make), isOwnAndClosed)
  } finally {
    parent.close()
  }
}

function makeFolders(folder: Folder, candidate: RunDirCandidate): RunDir {
  let meta: Folder | undefined
  let entries: Folder | undefined
  try {
    meta = checked(folder.make('meta', FOLDER_MODE), isOurs)
    entries = checked(meta.make(namespaceFolder(), FOLDER_MODE), isOurs)
    assertWritable(entries.fd)
    // Changes that are set aside come here.
    if (!candidate.named) assertWritable(folder.fd)
    return { candidate, folder, entries }
  } catch (error) {
    entries?.close()
    folder.close()
    throw error
  } finally {
    meta?.close()
  }
}

function makeTemporary(): RunDir {
  const candidate = { path: mkdtempSync(temporaryPrefix()), named: false }
  return makeFolders(openCandidate(candidate), candidate)
}

function isOurs({ uid }: { readonly uid: number }): boolean {
  return uid === effectiveUid()
}

/** @returns the folder. @throws FsError EPERM, and closes it, if another user owns it */
function checked(folder: Folder, isRight: (stat: ReturnType<Folder['stat']>) => boolean): Folder {
  const stat = folder.stat()
  if (isRight(stat)) return folder
  folder.close()
  throw new FsError(
    'EPERM',
    `${folder.path} belongs to user ${stat.uid} and has mode ${(stat.mode & PERMISSIONS).toString(8)}: others could change what is in it`,
  )
}

/** The outer id: user 0 of every user namespace has the same temporary folder. */
function temporaryPrefix(): PathText {
  return join(tmpdir(), `atomfs-${outerUid()}-`)
}

function temporaryFolders(): readonly PathText[] {
  const prefix = temporaryPrefix()
  try {
    const names = readdirSync(dirname(prefix)).filter((name) => name.startsWith(basename(prefix)))
    return names.sort().map((name) => join(dirname(prefix), name))
  } catch {
    return []
  }
}

/** Name of the folder with the entries of this mount namespace. */
export function namespaceFolder(): string {
  return String(namespaceNumber('mnt') ?? 0)
}

function reasonOf(error: unknown): string {
  if (isErrno(error, 'EPERM')) return error.message
  return codeOf(error) ?? String(error)
}
