import { homedir } from 'node:os'
import { join } from 'node:path'
import { FsError, isErrno, type PathText, UsageError } from '../base/index.ts'
import { assertClosed, Folder } from '../sys/files/folder.ts'
import { isHostRoot } from '../sys/plain/namespaces.ts'

/** Names the store; it passes from a command to the process that serves. */
export const STORE_VARIABLE = 'ATOMFS_STORE'
/** Names a folder in which indexes lie beside each other, and which comes before the store. */
export const INDEX_DIR_VARIABLE = 'ATOMFS_INDEX_DIR'

const ROOT_STORE = '/var/lib/atomfs'
const MODE = 0o700

/**
 * Where the store is: what `ATOMFS_STORE` names, else `/var/lib/atomfs` for root of the machine, and
 * `$XDG_DATA_HOME/atomfs` or `~/.local/share/atomfs` for everybody else.
 * @throws UsageError for a relative path
 */
export function storePath(environment: NodeJS.ProcessEnv = process.env): PathText {
  const named = pathIn(environment, STORE_VARIABLE)
  if (named !== undefined) return named
  if (isHostRoot()) return ROOT_STORE
  const data = environment['XDG_DATA_HOME']
  // The specification says to pass over a relative one.
  return join(data?.startsWith('/') === true ? data : join(homedir(), '.local/share'), 'atomfs')
}

/** The folder that `ATOMFS_INDEX_DIR` names. @throws UsageError for a relative path */
export function indexDirectory(environment: NodeJS.ProcessEnv = process.env): PathText | undefined {
  return pathIn(environment, INDEX_DIR_VARIABLE)
}

function pathIn(environment: NodeJS.ProcessEnv, variable: string): PathText | undefined {
  const named = environment[variable]
  if (named === undefined || named === '' || named.startsWith('/')) return named || undefined
  throw new UsageError(`${variable}=${named}: an absolute path is needed`)
}

/** Folders of the files of one algorithm, below the store. */
const LAYERS = 'layers'

/** The folders in which a file of an algorithm may lie, in the order in which they are looked through; opened one by one. */
export function* layerFolders(algorithm: string): Generator<Folder> {
  const beside = indexDirectory()
  const opened = [
    () => (beside === undefined ? undefined : openIndexDirectory(beside)),
    () => findLayerFolder(algorithm),
  ]
  for (const open of opened) {
    const folder = open()
    if (folder !== undefined) yield folder
  }
}

/** The folders in which a new file of an algorithm may be made, the best first, each opened when it is called. */
export function foldersForNew(): readonly ((algorithm: string) => Folder)[] {
  const beside = indexDirectory()
  const store = (algorithm: string): Folder => makeLayerFolder(algorithm)
  return beside === undefined ? [store] : [() => openIndexDirectory(beside), store]
}

function openIndexDirectory(path: PathText): Folder {
  const folder = found(() => Folder.open(path, { guarded: true }))
  if (folder === undefined) throw new FsError('EINVAL', `index directory ${path}: no such directory`)
  try {
    assertClosed(folder)
    return folder
  } catch (error) {
    folder.close()
    throw error
  }
}

/** Opens the folder of the indexes. @returns undefined where there is none. @throws FsError EPERM, EACCES, … */
export function findLayerFolder(algorithm: string, path = storePath()): Folder | undefined {
  return found(() => openLayerFolder(algorithm, path, false))
}

/** @returns undefined where there is none */
function found(open: () => Folder): Folder | undefined {
  try {
    return open()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Opens the folder of the indexes, made where it is missing. @throws FsError EPERM, EROFS, EACCES, ENOSPC, … */
export function makeLayerFolder(algorithm: string, path = storePath()): Folder {
  return openLayerFolder(algorithm, path, true)
}

function openLayerFolder(algorithm: string, path: PathText, makes: boolean): Folder {
  const opened: Folder[] = []
  try {
    const store = Folder.open(path, { guarded: true, ...(makes && { make: MODE }) })
    opened.push(store)
    for (const name of [LAYERS, algorithm]) {
      const above = opened.at(-1) ?? store
      opened.push(makes ? above.make(name, MODE) : above.folder(name))
    }
    for (const folder of opened) assertClosed(folder)
    return opened.pop() ?? store
  } finally {
    for (const folder of opened) folder.close()
  }
}
