import { createReadStream } from 'node:fs'
import { SQUASHFS } from '../../../squashfs/kind.ts'
import { FsError, isErrno, type PathText, printable } from '../../base/index.ts'
import {
  assertFewLayers,
  blobPathOf,
  type Descriptor,
  type Digest,
  diffIdsOf,
  isForeignLayer,
  isTarLayer,
  type LayoutFiles,
  layerKind,
  layoutIn,
  openLayoutFile,
  parseDigest,
  quote,
  readDocuments,
} from '../../oci/index.ts'
import { ArchiveFiles } from './archive-files.ts'
import type { SourceImage, SourceLayer } from './source-image.ts'

const READ_AHEAD = 1 << 20

/** Gives the bytes of a blob. @throws FsError ENOENT where it is missing; EACCES, … */
type OpenBlob = (digest: Digest, what: string) => AsyncIterable<Uint8Array>

/**
 * An image of a layout.
 * @param reference a tag, a digest, or nothing for the only image
 * @param platform as in `ReadImageOptions`
 * @throws FsError as `readImage`; EOPNOTSUPP for layers that cannot be converted
 */
export function layoutImage(ociDir: PathText, reference: string, platform?: string): SourceImage {
  const open: OpenBlob = (digest, what) => {
    const fd = openLayoutFile(ociDir, blobPathOf(digest), what)
    return createReadStream('', { fd, highWaterMark: READ_AHEAD })
  }
  return { ...imageOf(layoutIn(ociDir), reference, platform, open), close: () => undefined }
}

/** An image of a layout in a tar archive, as `oci-archive:` of other programs. @throws FsError as `layoutImage` */
export async function archivedLayoutImage(
  path: PathText,
  reference: string,
  platform?: string,
): Promise<SourceImage> {
  const files = await ArchiveFiles.open(path)
  try {
    if (files.document('oci-layout') === undefined) {
      throw new FsError('EINVAL', `${printable(path)} holds no OCI image layout (no file oci-layout in it)`)
    }
    const open: OpenBlob = (digest) => files.stream(blobPathOf(digest).join('/'))
    return { ...imageOf(files.layout(), reference, platform, open), close: () => files.close() }
  } catch (error) {
    files.close()
    throw error
  }
}

function imageOf(
  layout: LayoutFiles,
  reference: string,
  platform: string | undefined,
  open: OpenBlob,
): Omit<SourceImage, 'close'> {
  const { descriptor, manifest, config } = readDocuments(layout, reference, platform)
  assertFewLayers(manifest, descriptor)
  const where = `image configuration ${manifest.config.digest}`
  const diffIds = diffIdsOf(config, manifest.layers.length, where)
  const layers = manifest.layers.map((layer, i) =>
    layerOf(layer, `layer ${i + 1} of ${manifest.layers.length}`, diffIds?.[i], open),
  )
  const { annotations } = manifest as { readonly annotations?: Readonly<Record<string, string>> }
  return { config, annotations, platform: descriptor.platform, layers }
}

function layerOf(
  descriptor: Descriptor,
  position: string,
  diffId: Digest | undefined,
  open: OpenBlob,
): SourceLayer {
  const { mediaType, size } = descriptor
  const digest = parseDigest(descriptor.digest, position)
  const label = `${position}, ${digest.text}`
  const common = {
    label,
    digest,
    size,
    open: () => openOrExplain(descriptor, label, () => open(digest, label)),
  }
  if (isTarLayer(mediaType)) return { ...common, form: 'tar', diffId }
  if (SQUASHFS.isMediaType(mediaType)) return { ...common, form: 'squashfs', descriptor }
  const reason = layerKind(mediaType) ?? 'not known'
  const known = `only tar archives and ${SQUASHFS.mediaTypes} can be converted`
  throw new FsError('EOPNOTSUPP', `${position}: media type ${quote(mediaType)} is ${reason}; ${known}`)
}

function openOrExplain<T>({ mediaType }: Descriptor, label: string, open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (!isErrno(error, 'ENOENT') || !isForeignLayer(mediaType)) throw error
    throw new FsError(
      'ENOENT',
      `${label}: a foreign layer (${mediaType}), whose bytes are kept elsewhere: fetch it into the layout first`,
    )
  }
}
