import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs'
import { SQUASHFS } from '../../../squashfs/kind.ts'
import { FsError, type PathText, printable, systemPath, withFsError } from '../../base/index.ts'
import { parseSource } from '../../molecule/source.ts'
import { quote } from '../../oci/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { dockerImage } from './docker-source.ts'
import { archivedLayoutImage, layoutImage } from './layout-source.ts'
import type { SourceImage, SourceLayer } from './source-image.ts'

const READ_AHEAD = 1 << 20

/** Archives of images, by what stands before the name of the file. */
const ARCHIVES: Readonly<
  Record<string, (path: PathText, reference: string, platform?: string) => Promise<SourceImage>>
> = {
  'docker-archive:': (path, reference) => dockerImage(path, reference),
  'oci-archive:': archivedLayoutImage,
}

/** A tar archive on standard input. */
export const STANDARD_INPUT = '-'

/**
 * Opens what is to be converted: `OCIDIR:TAG` and its like as for a mount, `docker-archive:FILE[:NAME]`,
 * `oci-archive:FILE[:TAG]`, a directory, a squashfs file, a tar archive, or `-` for one on standard input.
 * @param platform `os/architecture[/variant]`, to choose from an image for several; that of this machine if absent
 * @throws FsError ENOENT, EINVAL, EOPNOTSUPP, EIO
 */
export async function openSourceImage(text: string, platform?: string): Promise<SourceImage> {
  const prefix = Object.keys(ARCHIVES).find((one) => text.startsWith(one))
  const openArchive = prefix === undefined ? undefined : ARCHIVES[prefix]
  if (prefix !== undefined && openArchive !== undefined) {
    const { path, reference } = splitArchive(text.slice(prefix.length), text)
    return await openArchive(path, reference, platform)
  }
  if (text === STANDARD_INPUT) {
    return tree({ form: 'tar', label: 'standard input', open: () => process.stdin })
  }
  const { container, path, tag, digest } = parseSource(text)
  if (container === 'oci') return layoutImage(path, digest ?? tag ?? '', platform)
  if (container === 'directory') return tree({ form: 'directory', label: printable(path), directory: path })
  const size = withFsError(path, () => statSync(systemPath(path))).size
  const open = (): AsyncIterable<Uint8Array> =>
    createReadStream(systemPath(path), { highWaterMark: READ_AHEAD })
  return tree({ form: isImage(path) ? 'squashfs' : 'tar', label: printable(path), size, open })
}

/** A tree without an image around it. */
function tree(layer: SourceLayer): SourceImage {
  return { layers: [layer], close: () => undefined }
}

/** The name of the file may hold colons itself. */
function splitArchive(text: string, whole: string): { readonly path: PathText; readonly reference: string } {
  for (let end = text.length; end > 0; end = text.lastIndexOf(':', end - 1)) {
    const path = absolutePath(text.slice(0, end))
    const stat = withFsError(printable(path), () => statSync(systemPath(path), { throwIfNoEntry: false }))
    if (stat !== undefined) return { path, reference: text.slice(end + 1) }
  }
  throw new FsError('ENOENT', `source ${quote(whole)}: no such file`)
}

/** Whether a file is a squashfs image, by its content. */
function isImage(path: PathText): boolean {
  return withFsError(path, () => {
    const fd = openSync(systemPath(path), 'r')
    try {
      const head = Buffer.alloc(4096)
      return SQUASHFS.probe(head.subarray(0, readSync(fd, head, 0, head.length, 0)))
    } finally {
      closeSync(fd)
    }
  })
}
