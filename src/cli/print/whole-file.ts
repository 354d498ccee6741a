import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, lstatSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { FsError, type PathText, printable, systemPath, withFsError } from '../../base/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/**
 * Writes a file that others never see half: the text goes to a new file beside it, which then takes its name. A failure
 * leaves what was there before, and no other file.
 * @param path relative to the working directory, or absolute; a regular file there is replaced
 * @throws FsError EEXIST where something else has that name, such as a link or a device; ENOENT, EACCES, ENOSPC, …
 */
export function writeWholeFile(path: PathText, text: string): void {
  const place = absolutePath(path)
  const what = printable(path)
  const present = withFsError(what, () => lstatSync(systemPath(place), { throwIfNoEntry: false }))
  if (present !== undefined && !present.isFile()) {
    throw new FsError('EEXIST', `${what} is no regular file: name another one`)
  }
  const folder = place.slice(0, place.lastIndexOf('/'))
  // A dot before it: collectors that read a folder pass it over.
  const temporary = systemPath(`${folder}/.atomfs-${randomBytes(6).toString('hex')}.tmp`)
  withFsError(what, () => {
    const fd = openSync(temporary, 'wx', 0o666)
    try {
      try {
        writeFileSync(fd, text)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(temporary, systemPath(place))
    } catch (error) {
      unlinkSync(temporary)
      throw error
    }
  })
}
