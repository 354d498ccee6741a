import { EXT4 } from '../../ext4/kind.ts'
import { PUZZLEFS } from '../../puzzlefs/kind.ts'
import { SQUASHFS } from '../../squashfs/kind.ts'
import { TAR } from '../../tar/kind.ts'
import { type ByteSource, FsError, type ImageKind } from '../base/index.ts'
import { FOLDER_FILE, FOLDER_TREE } from '../crypt/folder/kind.ts'
import { elfEnd, isElf } from './elf.ts'
import { launchLineEnd } from './launch-line.ts'
import { otherFile } from './other-files.ts'

/** What a kind may look at to tell its images, bytes. */
const HEAD_BYTES = 4096

/** All formats of images that can be mounted: the only list of them. */
const KINDS: ImageKind[] = [SQUASHFS, EXT4, TAR, PUZZLEFS, FOLDER_TREE, FOLDER_FILE]

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
  kindOfContent: (head: Uint8Array) => KINDS.find((kind) => kind.probe(head))?.name,
  standsAlone: (mediaType: string) => kindOfMediaType(mediaType)?.standsAlone === true,
  get known() {
    return KINDS.flatMap(({ mediaTypes }) => mediaTypes || []).join('; ')
  },
}

/**
 * The kind of a bare file, by its content, never by its name.
 * @throws FsError EINVAL where no kind knows it; EIO where it cannot be read
 */
export function probeKind(source: ByteSource): ImageKind {
  const kind = kindAt(source, 0)
  if (kind !== undefined) return kind
  const what = otherFile(readHead(source, 0))
  if (what !== undefined) throw new FsError('EINVAL', `${source.label}: not ${titles()}, but ${what}`)
  // The first format of the list says best what is wrong with a file that is nearly one of its images.
  const [first] = KINDS
  first?.describe(source)
  throw new FsError('EINVAL', `${source.label}: is not ${titles()}`)
}

/**
 * Where the image of a bare file begins, by its content: at byte 0, behind the program of an AppImage, or behind the launch
 * line of Apptainer. Nothing else is searched.
 * @throws FsError EINVAL where a program or a line is there, and no image behind it; EIO where the file is cut off
 */
export function findImage(source: ByteSource): number {
  const head = readHead(source, 0)
  if (KINDS.some((kind) => kind.probe(head))) return 0
  const start = isElf(head) ? elfEnd(source) : launchLineEnd(head)
  if (start === undefined) return 0
  if (kindAt(source, start) !== undefined) return start
  const [what, part] = isElf(head) ? ['an ELF program', 'program'] : ['a file of Apptainer', 'launch line']
  const place = `the ${part} ends at byte ${start} of ${source.size}`
  throw new FsError(
    'EINVAL',
    `${source.label}: ${what} without an image: ${place}, expected ${titles()} there`,
  )
}

/**
 * What image a bare file holds, by its content; undefined where it is nothing that could hold one.
 * @throws FsError as `findImage`
 */
export function imageIn(source: ByteSource): { readonly kind: string; readonly start: number } | undefined {
  const start = findImage(source)
  const kind = kindAt(source, start)
  return kind && { kind: kind.name, start }
}

/** The kind of the image that begins at a byte. */
function kindAt(source: ByteSource, position: number): ImageKind | undefined {
  const head = readHead(source, position)
  return KINDS.find((one) => one.probe(head))
}

function readHead(source: ByteSource, position: number): Uint8Array {
  const head = new Uint8Array(Math.min(HEAD_BYTES, source.size - position))
  if (head.length > 0) source.readInto(position, head)
  return head
}

/** All that a file can be, for messages: an image that needs its manifest is in a layout. */
function titles(): string {
  return KINDS.filter(({ standsAlone }) => standsAlone !== true)
    .map(({ title }) => title)
    .join(' or ')
}
