import type { MountRequest } from '../../request/index.ts'

/**
 * What to say where the caller cannot write to the root of a mount that takes changes: a plain user who mounts the image
 * of a root file system cannot write where its permissions do not let him, although all changes would be his own.
 * @returns undefined for a mount without changes
 */
export function ownerWarning({ target, changes, options }: MountRequest): string | undefined {
  if (changes === undefined || options.showsOnly) return undefined
  return `the root directory of ${target} belongs to somebody else and cannot be written to: with -o uid=me,gid=me everything in the mount is shown as yours`
}
