import type { PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { forEachRunDir } from '../runtime/entries.ts'
import { makeRunDir, runDirCandidates } from '../runtime/folders.ts'

/** For its owner alone. */
const MODE = 0o700

/**
 * Opens a folder of this user beside the runtime entries of mounts, and makes it where it is missing.
 * @returns it; the caller closes it
 * @throws FsError as `makeRunDir`
 */
export function makeOwnFolder(metadataDir: PathText | undefined, name: string): Folder {
  const { folder, entries } = makeRunDir(runDirCandidates(metadataDir))
  try {
    return folder.make(name, MODE)
  } finally {
    entries.close()
    folder.close()
  }
}

/** Runs `use` with each folder of that name that a process of this user may have made. */
export function forEachOwnFolder(
  metadataDir: PathText | undefined,
  name: string,
  use: (folder: Folder) => void,
): void {
  forEachRunDir(metadataDir, (runDir) => {
    const folder = runDir.find(name)
    if (folder === undefined) return
    try {
      use(folder)
    } finally {
      folder.close()
    }
  })
}
