import type { PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { withFolderLock } from '../../sys/files/lock.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { readDaemon, removeFolder, TEMPORARY_CHANGES } from './entries.ts'
import { namespaceFolder } from './folders.ts'

/**
 * Removes the entries of killed daemons in other mount namespaces, and sets their temporary changes aside. A container
 * ends like that: its pid namespace takes the daemon along, and nobody comes back to its mount namespace.
 *
 * Entries without such changes stay. Whether a daemon in another pid namespace lives can be seen by the lock that it has
 * on its changes, and by nothing else.
 * @param isInUse whether a mount uses the changes of that name in the folder
 * @throws FsError EACCES, EIO; EBUSY where another process has the lock of a folder
 */
export function setAsideElsewhere(
  runDir: Folder,
  isInUse: (entry: Folder, changes: PathText) => boolean,
): void {
  const own = namespaceFolder()
  withOwn(runDir, 'meta', (meta) => {
    for (const namespace of meta.names()) {
      if (namespace !== own) withOwn(meta, namespace, (entries) => sweepNamespace(runDir, entries, isInUse))
    }
  })
}

function sweepNamespace(
  runDir: Folder,
  entries: Folder,
  isInUse: (entry: Folder, changes: PathText) => boolean,
): void {
  const isOver = (entry: Folder): boolean =>
    entry.statOf(TEMPORARY_CHANGES) !== undefined && !isInUse(entry, TEMPORARY_CHANGES)
  for (const name of entries.names()) {
    if (!withOwn(entries, name, isOver)) continue
    withFolderLock(entries.fd, entries.path, () => {
      // A daemon that starts has no lock on its changes yet.
      const mounted = readDaemon(entries, name)?.state === 'mounted'
      if (mounted && withOwn(entries, name, isOver)) removeFolder(runDir, entries, name)
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
