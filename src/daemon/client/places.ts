import { accessSync, constants, lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { type PathText, systemPath } from '../../base/index.ts'
import { readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { entryName } from '../runtime/entry-name.ts'
import { openRunDir, type RunDirCandidate, runDirCandidates } from '../runtime/folders.ts'
import { entryAt } from '../runtime/mounted-entry.ts'
import { canonicalTarget } from '../runtime/target.ts'

export type { MoleculeConfig } from '../runtime/entries.ts'
export { TEST_OVERRIDE_RUNTIME_DIR_KEY } from '../runtime/folders.ts'

/** The folder for runtime data that the next mount tries first. Nothing is made. @returns undefined where there is none to try */
export function nextRunDir(metadataDir: PathText | undefined): PathText | undefined {
  const candidates = runDirCandidates(metadataDir)
  return (candidates.find(isUsable) ?? candidates[0])?.path
}

function isUsable(candidate: RunDirCandidate): boolean {
  if (candidate.named) return true
  const folder = openRunDir(candidate)
  folder?.close()
  if (folder !== undefined) return true
  try {
    if (lstatSync(systemPath(candidate.path), { throwIfNoEntry: false }) !== undefined) return false
    accessSync(systemPath(dirname(candidate.path)), constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where the runtime data of one mount are. */
export interface EntryPlace {
  /** Absent where nothing of this program is mounted. */
  readonly folder?: PathText | undefined
  /** Name of the folder that the next mount makes. */
  readonly name: PathText
}

/**
 * Looks for the runtime data of a target.
 * @param target absolute path
 * @throws FsError ENOENT, ENOTDIR, EACCES, ELOOP for the folder that holds the target
 */
export function entryPlace(target: PathText, metadataDir: PathText | undefined): EntryPlace {
  const mounts = readMountInfo()
  const path = canonicalTarget(target, mounts)
  return { folder: entryAt(path, mounts, metadataDir)?.folder, name: entryName(path) }
}
