import { lstatSync, writeFileSync } from 'node:fs'
import { FsError, type PathText, printable, systemPath, withFsError } from '../../base/index.ts'
import { newFile } from '../../sys/files/new-file.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/**
 * Writes a file that others never see half: the text goes to a new file, which then takes its name. A failure leaves what
 * was there before, and no other file.
 * @param path relative to the working directory, or absolute; a regular file there is replaced
 * @throws FsError EEXIST where something else has that name, such as a link or a device; ENOENT, EACCES, ENOSPC, …
 */
export async function writeWholeFile(path: PathText, text: string): Promise<void> {
  const place = absolutePath(path)
  const label = printable(path)
  const present = withFsError(label, () => lstatSync(systemPath(place), { throwIfNoEntry: false }))
  if (present !== undefined && !present.isFile()) {
    throw new FsError('EEXIST', `${label} is no regular file: name another one`)
  }
  await newFile(place, { force: true, label }, async (fd) =>
    withFsError(label, () => writeFileSync(fd, text)),
  )
}
