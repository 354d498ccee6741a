import type { PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { withFolderLock } from '../../sys/files/lock.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { removeFolder } from './entries.ts'
import { isEntryLocked } from './entry-lock.ts'
import { namespaceFolder } from './folders.ts'

/**
 * Removes the entries of killed daemons in other mount namespaces, and sets their temporary changes aside. A container
 * ends like that: its pid namespace takes the daemon along, and nobody comes back to its mount namespace.
 * @throws FsError EACCES, EIO; EBUSY where another process has the lock of a folder
 */
export function sweepElsewhere(runDir: Folder): void {
  const own = namespaceFolder()
  withOwn(runDir, 'meta', (meta) => {
    for (const namespace of meta.names()) {
      if (namespace !== own) withOwn(meta, namespace, (entries) => sweepNamespace(runDir, entries))
    }
  })
}

function sweepNamespace(runDir: Folder, entries: Folder): void {
  const isOver = (name: PathText): boolean =>
    withOwn(entries, name, (entry) => !isEntryLocked(entry)) === true
  for (const name of entries.names().filter(isOver)) {
    // An entry that is being made gets its lock before this one is given back.
    withFolderLock(entries.fd, entries.path, () => {
      if (isOver(name)) removeFolder(runDir, entries, name)
    })
  }
}

/** @returns what `use` says of the folder of that name; undefined where there is none, or another user's */
function withOwn<T>(parent: Folder, name: PathText, use: (folder: Folder) => T): T | undefined {
  const folder = parent.find(name)
  try {
    return folder?.stat().uid === effectiveUid() ? use(folder) : undefined
  } finally {
    folder?.close()
  }
}
