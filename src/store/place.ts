import { homedir } from 'node:os'
import { join } from 'node:path'
import { FsError, type PathText, UsageError } from '../base/index.ts'
import { Folder } from '../sys/files/folder.ts'
import { isHostRoot } from '../sys/plain/namespaces.ts'
import { isTrustedOwner } from '../sys/plain/owner.ts'

/** Names the store; it passes from a command to the process that serves. */
export const STORE_VARIABLE = 'ATOMFS_STORE'

const ROOT_STORE = '/var/lib/atomfs'
const MODE = 0o700
const WRITABLE_BY_OTHERS = 0o022

/**
 * Where the store is: what `ATOMFS_STORE` names, else `/var/lib/atomfs` for root of the machine, and
 * `$XDG_DATA_HOME/atomfs` or `~/.local/share/atomfs` for everybody else.
 * @throws UsageError for a relative path
 */
export function storePath(environment: NodeJS.ProcessEnv = process.env): PathText {
  const named = environment[STORE_VARIABLE]
  if (named !== undefined && named !== '') {
    if (named.startsWith('/')) return named
    throw new UsageError(`${STORE_VARIABLE}=${named}: an absolute path is needed`)
  }
  if (isHostRoot()) return ROOT_STORE
  const data = environment['XDG_DATA_HOME']
  // The specification says to pass over a relative one.
  return join(data?.startsWith('/') === true ? data : join(homedir(), '.local/share'), 'atomfs')
}

/** Folders of the indexes of one algorithm, below the store. */
const LAYERS = 'layers'

/** Opens the folder of the indexes. @returns undefined where there is none. @throws FsError EPERM, EACCES, … */
export function findLayerFolder(algorithm: string, path = storePath()): Folder | undefined {
  try {
    return openLayerFolder(algorithm, path, false)
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENOENT') return undefined
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

/** What lies in the store is believed, so nobody else may have put it there. */
function assertClosed(folder: Folder): void {
  const { uid, mode } = folder.stat()
  if (isTrustedOwner(uid) && (mode & WRITABLE_BY_OTHERS) === 0) return
  throw new FsError(
    'EPERM',
    `${folder.path}: others can write to it, or own it: chmod 700, or another --store`,
  )
}
