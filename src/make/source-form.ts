import { closeSync, openSync, statSync } from 'node:fs'
import { type NamedSource, type PathText, systemPath, unlessFailed, withFsError } from '../base/index.ts'
import { imageIn } from '../kinds/kinds.ts'
import { parseSource } from '../molecule/index.ts'
import { lockedImages } from '../molecule/source.ts'
import { FileSource } from '../sys/files/file-source.ts'
import { absolutePath } from '../sys/files/working-directory.ts'

/** What SOURCE is, of those that make images of it. */
export type SourceForm =
  | { readonly form: 'directory'; readonly path: PathText }
  /** A file, or a pipe. */
  | { readonly form: 'tar'; readonly path: PathText }
  /** Whatever else can be mounted. */
  | { readonly form: 'image'; readonly source: NamedSource; readonly kind?: string }

/**
 * Reads SOURCE as `mount` does. A file without an image in it is an archive.
 * @param isImage the user has said so, for instance where it begins
 * @returns `kind` of an image that is all of a regular file
 * @throws FsError as `parseSource`
 */
export function readSourceForm(text: string, isImage: boolean): SourceForm {
  // What comes through a pipe is read once and in order, as only an archive can be.
  const stats = unlessFailed(() => withFsError(text, () => statSync(systemPath(text))))
  if (stats?.isFIFO() === true && !isImage) return { form: 'tar', path: absolutePath(text) }
  const source = parseSource(text)
  const { container, path } = source
  if (container === 'directory' && !isImage) return { form: 'directory', path }
  const isFile = container === 'file' && stats?.isFile() === true
  if (!isFile || isImage || lockedImages(source).length > 0) return { form: 'image', source }
  const found = withFsError(path, () => {
    const fd = openSync(systemPath(path), 'r')
    try {
      return imageIn(new FileSource(fd, text))
    } finally {
      closeSync(fd)
    }
  })
  if (found === undefined) return { form: 'tar', path }
  return { form: 'image', source, ...(found.start === 0 && { kind: found.kind }) }
}
