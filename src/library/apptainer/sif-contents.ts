import {
  FILE_SYSTEM,
  isPartition,
  objectTitle,
  PART,
  type Partition,
  readSif,
  type SifObject,
} from '../../../sif/index.ts'
import { messageOf } from '../../base/index.ts'
import { hostPlatform } from '../../oci/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { IMAGE_TYPE, IMAGE_USAGE, ROOT_FS } from './constants.ts'
import { ImageError } from './errors.ts'
import { checkExt3Header, checkSquashfsHeader } from './headers.ts'
import type { ImageHead } from './image-head.ts'
import type { Section } from './image-json.ts'

/** What a SIF holds, as Apptainer sorts it. */
export interface SifContents {
  readonly partitions: readonly Section[]
  readonly sections: readonly Section[]
  /** Bits of `IMAGE_USAGE`: what there are partitions for, and the root file system. */
  readonly usage: number
  readonly remarks: readonly string[]
}

/** Machines that run programs of a sibling. */
const SIBLINGS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['386'],
  arm64: ['arm'],
  mips64: ['mips'],
  mips64le: ['mipsle'],
}

const OFFSET_LIMIT = Number.MAX_SAFE_INTEGER

/**
 * The partitions and sections of a SIF: the primary partition, then overlays of its group and data in the order of their
 * records; other partitions are left out. Several primary partitions are as good as none.
 * @throws FsError for a header or table that cannot be read; ImageError where the primary partition is not what it says
 */
export function sifContents(head: ImageHead, path: string): SifContents {
  const { objects, header } = readSif(new FileSource(head.fd, path, head.size))
  const remarks: string[] = []
  const primary = objects.filter(isPartition).filter(({ extra }) => extra.part === PART.primary)
  const [root, another] = primary
  const partitions: Section[] = []
  let usage: number = IMAGE_USAGE.ROOT_FS
  if (another !== undefined)
    remarks.push(`${primary.length} primary partitions: none is the root file system`)
  else if (root !== undefined) {
    partitions.push({ ...sectionOf(root, rootType(head, root), IMAGE_USAGE.ROOT_FS), name: ROOT_FS })
    remarks.push(...machineRemarks(root.extra.architecture))
  }
  const group = another === undefined ? root?.group : undefined
  const sections: Section[] = []
  for (const object of objects) {
    const left = misplaced(object)
    if (left !== undefined) remarks.push(`${objectTitle(object)} is left out: ${left}`)
    else if (!isPartition(object)) {
      if (object.type !== 0) sections.push(sectionOf(object, object.type >>> 0, IMAGE_USAGE.DATA))
    } else if (object.extra.part === PART.data || object.extra.part === PART.overlay) {
      const isOverlay = object.extra.part === PART.overlay
      if (isOverlay && group !== undefined && object.group !== group) {
        remarks.push(`${objectTitle(object)} is left out: it is of another group than the primary partition`)
        continue
      }
      const bit = isOverlay ? IMAGE_USAGE.OVERLAY : IMAGE_USAGE.DATA
      try {
        partitions.push(sectionOf(object, partitionType(head, object), bit))
        usage |= bit
      } catch (error) {
        if (!(error instanceof ImageError)) throw error
        remarks.push(`${objectTitle(object)} is left out: ${messageOf(error)}`)
      }
    }
  }
  if (header.free === header.total && objects.length > 0) {
    remarks.push(`the header calls all ${header.total} records free, and ${objects.length} are in use`)
  }
  return { partitions, sections, usage, remarks }
}

function sectionOf(object: SifObject, type: number, allowedUsage: number): Section {
  const { id, name, offset, size } = object
  return { name, size, offset, id, type, allowedUsage }
}

function rootType(head: ImageHead, root: Partition): number {
  try {
    return partitionType(head, root)
  } catch (error) {
    if (!(error instanceof ImageError)) throw error
    throw new ImageError(
      'bad-header',
      `while checking system partition header: ${error.message}`,
      error.offset,
    )
  }
}

/** @throws ImageError where the file has no header of that file system there */
function partitionType(head: ImageHead, { extra, offset }: Partition): number {
  const bytes = head.at(offset)
  if (bytes === undefined) {
    const wrong = `failed to read SIF partition at offset ${offset}: EOF`
    throw new ImageError('bad-header', wrong, offset)
  }
  switch (extra.fileSystem) {
    case FILE_SYSTEM.squashfs:
      checked('squashfs', () => checkSquashfsHeader(bytes))
      return IMAGE_TYPE.SQUASHFS
    case FILE_SYSTEM.ext3:
      checked('ext3', () => checkExt3Header(bytes))
      return IMAGE_TYPE.EXT3
    case FILE_SYSTEM.luks:
      return IMAGE_TYPE.ENCRYPTSQUASHFS
    case FILE_SYSTEM.raw:
      return IMAGE_TYPE.RAW
    case FILE_SYSTEM.gocryptfs:
      return IMAGE_TYPE.GOCRYPTFSSQUASHFS
    default: {
      const name = extra.fileSystem === FILE_SYSTEM.archive ? 'Archive' : 'Unknown'
      throw new ImageError('bad-header', `unknown filesystem type ${name}`, offset)
    }
  }
}

function checked(kind: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof ImageError)) throw error
    throw new ImageError('bad-header', `error while checking ${kind} header: ${error.message}`, error.offset)
  }
}

/** Apptainer makes huge numbers of negative ones. */
function misplaced({ offset, size }: SifObject): string | undefined {
  const isPlace = offset >= 0 && size >= 0 && offset + size <= OFFSET_LIMIT
  return isPlace ? undefined : `it lies at byte ${offset} with ${size} bytes, which no file has`
}

/** People look at images of other machines, so it is no error. */
function machineRemarks(architecture: string): readonly string[] {
  const own = hostPlatform().architecture
  if (architecture === 'unknown' || architecture === own || SIBLINGS[own]?.includes(architecture)) return []
  return [`the image's architecture (${architecture}) could not run on the host's (${own})`]
}
