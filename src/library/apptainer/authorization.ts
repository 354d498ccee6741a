import {
  complaintOf,
  containsPath,
  FsError,
  type PathText,
  UsageError,
  withFsError,
} from '../../base/index.ts'
import { realPath } from '../../sys/files/real-path.ts'
import { groupIdOf, userIdOf } from '../../sys/process/accounts.ts'

/** @throws FsError ENOENT for a name that is no user of this machine */
export function userNamed(name: string): number {
  return named('user', userIdOf(name), name)
}

/** @throws FsError ENOENT for a name that is no group of this machine */
export function groupNamed(name: string): number {
  return named('group', groupIdOf(name), name)
}

function named(kind: 'user' | 'group', id: number | undefined, name: string): number {
  if (id !== undefined) return id
  throw new FsError('ENOENT', `failed to retrieve ${kind} information for ${name}: no such ${kind}`)
}

/**
 * Whether a path is that of a folder, or lies in it; links of the folder are resolved.
 * @param path absolute, without symbolic links
 * @throws FsError what the system said of the folder; UsageError for one that is not absolute: the working directory of a
 *   program that runs with rights is its caller's
 */
export function isBelow(path: PathText, folder: PathText): boolean {
  const complaint = complaintOf('path', folder)
  if (complaint !== undefined) throw new UsageError(complaint)
  if (!folder.startsWith('/')) throw new UsageError(`failed to resolve path ${folder}: it is not absolute`)
  return containsPath(
    withFsError(`failed to resolve path ${folder}`, () => realPath(folder)),
    path,
  )
}
