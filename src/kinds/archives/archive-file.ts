import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { posix } from 'node:path'
import { readMembers, type TarMember } from '../../../tar/read/members.ts'
import {
  type Container,
  encodePath,
  errnoCodeOf,
  FsError,
  type ImageFile,
  type Name,
  type PathText,
  systemPath,
  UsageError,
} from '../../base/index.ts'
import type { LayoutFiles } from '../../oci/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'

/** An archive of images has some ten members a layer. */
const MEMBERS_MAX = 100_000
const LINKS_MAX = 8
const HEAD = 6

/** How a file begins that is compressed as a whole. */
const COMPRESSED: readonly (readonly [name: string, begins: (head: Buffer) => boolean])[] = [
  ['gzip', (head) => head.readUInt16BE(0) === 0x1f8b],
  ['zstd', (head) => head.readUInt32LE(0) === 0xfd2f_b528],
  ['xz', (head) => head.toString('latin1') === '\xfd7zXZ\0'],
  ['bzip2', (head) => head.toString('latin1', 0, 3) === 'BZh'],
]

/** What the containers of both kinds of archive have in common. */
export const ARCHIVE: Pick<Container, 'onlyByPrefix' | 'claims' | 'atOffset' | 'mayHoldArchives'> = {
  onlyByPrefix: true,
  claims: (_path, stats) => stats.isFile(),
  atOffset() {
    throw new UsageError('offset= is for an image file; the layers of an archive begin where it says')
  },
  mayHoldArchives: () => true,
}

/** A part of the file, bytes. */
export type Place = NonNullable<TarMember['place']>

/** The files in an archive of images, which lie in it as they are. */
export class ArchiveFile {
  readonly path: PathText
  readonly #members = new Map<Name, TarMember>()

  /** @throws FsError ENOENT, EACCES; EINVAL for what is no archive, or compressed; EIO */
  constructor(path: PathText) {
    this.path = path
    this.#with((source) => {
      refuseCompressed(source)
      for (const member of readMembers(source)) {
        if (this.#members.size >= MEMBERS_MAX)
          throw new FsError('EFBIG', `more than ${MEMBERS_MAX} files in it`)
        this.#members.set(member.path, member)
      }
    })
  }

  /** Where a file of the archive lies; undefined where there is none of that path. */
  find(path: string): Place | undefined {
    let name = posix.normalize(encodePath(path).toString('latin1'))
    for (let links = 0; links < LINKS_MAX; links++) {
      const member = this.#members.get(name)
      if (member?.link === undefined) return member?.place
      const { kind, target } = member.link
      const from = kind === 'hard' ? '/' : `/${posix.dirname(name)}/`
      name = posix.normalize(from + target).slice(1)
    }
    return undefined
  }

  /** A small file of the archive. @param what names it in messages. @throws FsError ENOENT; EIO where it is too large */
  read(path: string, limit: number, what: string): Buffer {
    const place = this.find(path)
    if (place === undefined) throw new FsError('ENOENT', `${what}: no file ${path} in ${this.path}`)
    if (place.length > limit) {
      throw new FsError('EIO', `${what}: ${place.length} bytes, more than the limit of ${limit}`)
    }
    const bytes = Buffer.alloc(place.length)
    this.#with((source) => source.readInto(place.offset, bytes))
    return bytes
  }

  /** The first bytes of a part. */
  head({ offset, length }: Place): Buffer {
    const head = Buffer.alloc(HEAD)
    this.#with((source) => source.readInto(offset, head.subarray(0, Math.min(HEAD, length))))
    return head
  }

  /** @returns a descriptor of the file; the caller closes it. @throws FsError ENOENT, EACCES, EINVAL, … */
  open(): number {
    let fd: number
    try {
      fd = openSync(systemPath(this.path), constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
      const code = errnoCodeOf(error)
      throw new FsError(code, `${this.path}: cannot be opened: ${code}`, { cause: error })
    }
    if (fstatSync(fd).isFile()) return fd
    closeSync(fd)
    throw new FsError('EINVAL', `${this.path} is no regular file`)
  }

  #with(work: (source: FileSource) => void): void {
    const fd = this.open()
    try {
      work(new FileSource(fd, this.path))
    } catch (error) {
      if (!(error instanceof FsError) || error.message.includes(this.path)) throw error
      throw new FsError(error.code, `${this.path}: ${error.message}`, { cause: error })
    } finally {
      closeSync(fd)
    }
  }
}

/** Whether a part begins as compressed data do. @returns by what */
export function compressionOf(head: Buffer): string | undefined {
  return COMPRESSED.find(([, begins]) => begins(head))?.[0]
}

function refuseCompressed(source: FileSource): void {
  const head = Buffer.alloc(HEAD)
  source.readInto(0, head.subarray(0, Math.min(HEAD, source.size)))
  const form = compressionOf(head)
  if (form === undefined) return
  throw new FsError(
    'EOPNOTSUPP',
    `${source.label}: the whole archive is compressed with ${form}, so that it cannot be read in place: decompress it, or make an image of it with "atomfs-fuse convert"`,
  )
}

/** The documents of a layout in an archive. */
export function layoutInArchive(archive: ArchiveFile): LayoutFiles {
  return {
    name: archive.path,
    read: (place, limit, what) => archive.read(place.join('/'), limit, what),
  }
}

/** What a layer is whose bytes are a part of an archive. @param find where other blobs are */
export function partOf(
  archive: ArchiveFile,
  { offset, length }: Place,
  find: (digest: string) => Place,
): Pick<ImageFile, 'path' | 'open' | 'offset' | 'length' | 'blobParts'> {
  const open = (): number => archive.open()
  return { path: archive.path, open, offset, length, blobParts: { open, place: find } }
}
