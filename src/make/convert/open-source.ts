import { createReadStream, statSync } from 'node:fs'
import { FsError, type PathText, printable, systemPath, UsageError, withFsError } from '../../base/index.ts'
import type { ContentsRequest } from '../../contents/index.ts'
import { quote } from '../../oci/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { imageTree, openImageTree } from '../image-tree.ts'
import { sizeOfSource } from '../pack.ts'
import { readSourceForm } from '../source-form.ts'
import type { LeftOut, TreeItem } from '../tree-item.ts'
import { dockerImage } from './docker-source.ts'
import { archivedLayoutImage, layoutImage } from './layout-source.ts'
import type { SourceImage, SourceLayer, StoredLayer } from './source-image.ts'
import { storedLayers } from './stored-layers.ts'

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

/** Whether a text names an archive of images, or standard input, by what it begins with. */
export function isArchiveSource(text: string): boolean {
  return text === STANDARD_INPUT || Object.keys(ARCHIVES).some((prefix) => text.startsWith(prefix))
}

/**
 * Opens what is to be converted: `OCIDIR:TAG` and its like as for a mount, `docker-archive:FILE[:NAME]`,
 * `oci-archive:FILE[:TAG]`, a directory, a file with an image of any kind, a tar archive, or `-` for one on standard
 * input. A squashfs file stays as it is, and so do those in a SIF file, and of other images the tree becomes a layer.
 * @param platform `os/architecture[/variant]`, to choose from an image for several; that of this machine if absent
 * @param how a file is read as an image, if the user has said so; its tree becomes a layer then
 * @throws FsError ENOENT, EINVAL, EOPNOTSUPP, EIO; UsageError for `how` where there is no file
 */
export async function openSourceImage(
  text: string,
  platform?: string,
  how?: Omit<ContentsRequest, 'source'>,
): Promise<SourceImage> {
  const prefix = Object.keys(ARCHIVES).find((one) => text.startsWith(one))
  const openArchive = prefix === undefined ? undefined : ARCHIVES[prefix]
  if (how !== undefined && (prefix !== undefined || text === STANDARD_INPUT)) throw noImageFile(text)
  if (prefix !== undefined && openArchive !== undefined) {
    const { path, reference } = splitArchive(text.slice(prefix.length), text)
    return await openArchive(path, reference, platform)
  }
  if (text === STANDARD_INPUT) {
    return tree({ form: 'tar', label: 'standard input', open: () => process.stdin })
  }
  const source = readSourceForm(text, how !== undefined)
  if (source.form === 'directory') {
    const { path: directory } = source
    const measure = (): number => sizeOfSource({ directory }, {})
    return tree({ form: 'directory', label: printable(directory), directory, measure })
  }
  if (source.form === 'tar') return tree({ form: 'tar', ...fileAt(source.path) })
  const { container, path, tag, digest } = source.source
  if (container === 'oci') {
    if (how !== undefined) throw noImageFile(text)
    return layoutImage(path, digest ?? tag ?? '', platform)
  }
  if (source.kind === 'squashfs') return tree({ form: 'squashfs', ...fileAt(path) })
  const stored = how === undefined ? storedLayers(source.source, text) : undefined
  if (stored !== undefined) return { layers: stored, close: () => undefined }
  const image: ContentsRequest = { ...how, source: source.source }
  return tree({
    form: 'tree',
    label: printable(path),
    items: (leftOut) => itemsOf(image, leftOut),
    measure: () => sizeOfSource({ image }, {}),
  })
}

function noImageFile(text: string): UsageError {
  return new UsageError(`${quote(text)} is no image file: --root-hash, --offset and -o are for one`)
}

function* itemsOf(request: ContentsRequest, leftOut: LeftOut): Generator<TreeItem> {
  const image = openImageTree(request)
  try {
    yield* imageTree(image, leftOut, { form: 'layer' })
  } finally {
    image.close()
  }
}

function fileAt(path: PathText): Pick<StoredLayer, 'label' | 'size' | 'open'> {
  const stats = withFsError(path, () => statSync(systemPath(path)))
  return {
    label: printable(path),
    // A pipe does not say it.
    ...(stats.isFile() && { size: stats.size }),
    open: () => createReadStream(systemPath(path), { highWaterMark: READ_AHEAD }),
  }
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
