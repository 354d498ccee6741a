import { SQUASHFS } from '../../squashfs/kind.ts'
import { type ByteSource, FsError, type ImageKind } from '../base/index.ts'

/** What a kind may look at to tell its images, bytes. */
const HEAD_BYTES = 4096

/** All formats of images that can be mounted: the only list of them. */
const KINDS: ImageKind[] = [SQUASHFS]

/** Adds a format. Every thread has a list of its own: an entry that opens images must do it, too. */
export function registerKind(kind: ImageKind): void {
  if (!KINDS.includes(kind)) KINDS.push(kind)
}

/** @param name what `ImageKind.name` of an earlier look said. @throws FsError EINVAL */
export function kindNamed(name: string): ImageKind {
  const kind = KINDS.find((one) => one.name === name)
  if (kind === undefined) throw new FsError('EINVAL', `no image kind ${JSON.stringify(name)} in this thread`)
  return kind
}

function kindOfMediaType(mediaType: string): ImageKind | undefined {
  return KINDS.find((kind) => kind.isMediaType(mediaType))
}

/** Which layers of an OCI image can be mounted (`MediaTypes`). */
export const LAYER_TYPES = {
  kindOf: (mediaType: string) => kindOfMediaType(mediaType)?.name,
  get known() {
    return KINDS.map((kind) => kind.mediaTypes).join('; ')
  },
}

/**
 * The kind of a bare file, by its content, never by its name.
 * @throws FsError EINVAL where no kind knows it; EIO where it cannot be read
 */
export function probeKind(source: ByteSource): ImageKind {
  const head = new Uint8Array(Math.min(HEAD_BYTES, source.size))
  if (head.length > 0) source.readInto(0, head)
  const kind = KINDS.find((one) => one.probe(head))
  if (kind !== undefined) return kind
  // The first format of the list says best what is wrong with a file that is nearly one of its images.
  const [first] = KINDS
  first?.describe(source)
  throw new FsError('EINVAL', `${source.label}: is none of ${KINDS.map((one) => one.title).join(', ')}`)
}
