import {
  FsError,
  type Name,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
} from '../../src/base/index.ts'
import { ByteQueue } from './byte-queue.ts'
import { decodeHeader, type Header, isZero, RECORD } from './header.ts'
import { cleanPath } from './names.ts'
import {
  decodePax,
  PaxCollection,
  type PaxRecords,
  paxAttributes,
  paxNumber,
  paxSize,
  paxTime,
  type TarTime,
} from './pax.ts'
import {
  filled,
  headSparseMap,
  oldSparseMap,
  type PlacedBytes,
  paxSparseMap,
  placed,
  type SparseMap,
  type SparsePiece,
  storedSize,
} from './sparse.ts'

/** What an archive says of one object. */
export interface TarEntry {
  /** From the root of the tree, one character a byte; `''` is the root. */
  readonly path: Name
  /** A hard link: the path of its file, which may come later. The other fields say nothing then. */
  readonly link?: Name
  /** Type and permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970, with a fraction. */
  readonly mtime: number
  /** The same as `mtime`, without rounding. */
  readonly time: TarTime
  /** Devices, as the kernel encodes it in 32 bits. */
  readonly rdev: number
  /** Symbolic links. */
  readonly target?: Uint8Array
  readonly xattrs: readonly (readonly [name: Name, value: Uint8Array])[]
  /** Regular files: bytes with holes. */
  readonly size: number
  /** Regular files that the archive stores without holes: byte of the archive at which the content begins. */
  readonly position?: number
  /** Regular files that the archive stores without their holes. */
  readonly sparse?: StoredPieces
  /** Regular files: to be read before the next entry is asked for; what is left is skipped. */
  readonly content: AsyncIterable<Uint8Array>
  /** Files that are stored without their holes: in place of `content`, which has all of them as zeros. */
  readonly placed?: AsyncIterable<PlacedBytes>
}

/** What is odd about an archive, and no reason to refuse it. Counted over several archives. */
export interface TarOddities {
  /** Archives that end without the record of zeros that marks the end: perhaps they were cut off. */
  missingEnds: number
  /** Bytes behind the end of an archive, from the first one on that is not zero: nobody reads them. */
  bytesBehindEnd: number
}

/** Where the pieces of a file with holes lie: one after the other in the archive. */
export interface StoredPieces {
  /** Byte of the archive at which the first one begins. */
  readonly position: number
  readonly pieces: readonly SparsePiece[]
}

/** Names and records of one entry, bytes. */
const EXTENSION_MAX = 1 << 20
/** Records for all entries that follow: each of them is compared with each entry. */
const GLOBAL_MAX = 64 << 10
/** A name in a header of GNU tar. */
const LONG_NAME_MAX = 1 << 16
const TYPES: Readonly<Record<string, number>> = {
  '0': S_IFREG,
  '7': S_IFREG,
  S: S_IFREG,
  '2': S_IFLNK,
  '3': S_IFCHR,
  '4': S_IFBLK,
  '5': S_IFDIR,
  '6': S_IFIFO,
}
const HARD_LINK = '1'
const NO_CONTENT: AsyncIterable<Uint8Array> = (async function* () {})()

/** What stands before the header that it is for. */
interface Extensions {
  longName?: Name
  longLink?: Name
  readonly pax: PaxCollection
}

const newExtensions = (): Extensions => ({ pax: new PaxCollection(EXTENSION_MAX) })

/**
 * Reads a tar archive from a stream: V7, ustar, PAX, and GNU tar with its long names, large numbers and all forms of
 * sparse files. Memory does not depend on the archive. Reads the stream to its end, also behind the end of the archive.
 * @param odd what was odd is added to it
 * @throws FsError EINVAL for what is no archive and for a path that leads out of the tree; EIO where it ends too early;
 *   ENAMETOOLONG, EFBIG. The message says where in the archive
 */
export async function* readTar(
  stream: AsyncIterable<Uint8Array>,
  odd: TarOddities = { missingEnds: 0, bytesBehindEnd: 0 },
): AsyncGenerator<TarEntry> {
  const queue = new ByteQueue(stream)
  const global = new PaxCollection(GLOBAL_MAX)
  let next = newExtensions()
  try {
    for (;;) {
      const at = queue.position
      const record = await queue.take(RECORD)
      if (record === undefined || isZero(record)) {
        if (next.longName !== undefined || next.longLink !== undefined || next.pax.records.size > 0) {
          throw new FsError('EIO', `the archive ends at byte ${at}, between an extended header and its entry`)
        }
        // Some writers leave out the two records of zeros.
        if (record === undefined) odd.missingEnds += 1
        break
      }
      const header = decodeHeader(record, at)
      if (await isExtension(header, queue, next, global)) continue
      const { longName, longLink, pax } = next
      const records: PaxRecords = new Map([...global.records, ...pax.records])
      const read = new EntryReader(queue, header, record, { longName, longLink, records }, at)
      next = newExtensions()
      yield await read.entry()
      await read.skipRest()
    }
    odd.bytesBehindEnd += await queue.drain()
  } finally {
    await queue.close()
  }
}

/** Takes a header that is about the next one, with its content. */
async function isExtension(
  header: Header,
  queue: ByteQueue,
  next: Extensions,
  global: PaxCollection,
): Promise<boolean> {
  const { type } = header
  if (!'xgLKX'.includes(type)) return false
  const at = queue.position
  const most = type === 'L' || type === 'K' ? LONG_NAME_MAX : EXTENSION_MAX
  if (!(header.size >= 0 && header.size <= most))
    throw new FsError('EFBIG', `header at byte ${at}: ${header.size} bytes, at most ${most}`)
  const bytes = header.size === 0 ? Buffer.alloc(0) : await queue.take(header.size)
  if (bytes === undefined) throw new FsError('EIO', `the archive ends at byte ${at}, in a header`)
  await queue.skip(padding(header.size))
  if (type === 'L') next.longName = untilNul(bytes)
  else if (type === 'K') next.longLink = untilNul(bytes)
  else (type === 'g' ? global : next.pax).add(decodePax(bytes, at), at)
  return true
}

/** What headers before that of an entry say of it. */
interface Extended {
  readonly longName: Name | undefined
  readonly longLink: Name | undefined
  readonly records: PaxRecords
}

class EntryReader {
  readonly #queue: ByteQueue
  readonly #header: Header
  readonly #record: Buffer
  readonly #extended: Extended
  readonly #what: string
  /** Where the next header begins. */
  #end = 0

  constructor(queue: ByteQueue, header: Header, record: Buffer, extended: Extended, at: number) {
    this.#queue = queue
    this.#header = header
    this.#record = record
    this.#extended = extended
    this.#what = `entry at byte ${at}`
  }

  async entry(): Promise<TarEntry> {
    const { longName, longLink, records: pax } = this.#extended
    const name =
      nonEmpty(pax.get('GNU.sparse.name')) ?? nonEmpty(pax.get('path')) ?? longName ?? this.#header.path
    const linkPath = nonEmpty(pax.get('linkpath')) ?? longLink ?? this.#header.linkPath
    const { type: stored, mode, uid, gid, mtime, rdev } = this.#header
    // V7 marks a directory by its name only.
    const type = stored === '0' && name.endsWith('/') ? '5' : stored
    const path = cleanPath(name, this.#what)
    const common = {
      path,
      uid: paxNumber(pax, 'uid', this.#what) ?? uid,
      gid: paxNumber(pax, 'gid', this.#what) ?? gid,
      mtime: paxNumber(pax, 'mtime', this.#what) ?? mtime,
      time: paxTime(pax, 'mtime', this.#what) ?? { seconds: mtime, nanoseconds: 0 },
      rdev,
      xattrs: paxAttributes(pax, this.#what),
      size: 0,
      content: NO_CONTENT,
    }
    this.#end = this.#queue.position
    if (type === HARD_LINK) return { ...common, mode, link: cleanPath(linkPath, this.#what) }
    const format = TYPES[type]
    if (format === undefined)
      throw new FsError('EINVAL', `${this.#what}: ${JSON.stringify(path)} has type "${type}"`)
    // Nobody can set the permissions of a link, and all are shown with these.
    if (format === S_IFLNK) {
      return { ...common, mode: format | 0o777, target: Buffer.from(linkPath, 'latin1') }
    }
    const entry = { ...common, mode: format | mode }
    return format === S_IFREG ? { ...entry, ...(await this.#content(type)) } : entry
  }

  /** Skips what of the content was not read. */
  async skipRest(): Promise<void> {
    await this.#queue.skip(this.#end - this.#queue.position)
  }

  async #content(
    type: string,
  ): Promise<Pick<TarEntry, 'size' | 'position' | 'sparse' | 'content' | 'placed'>> {
    const { records: pax } = this.#extended
    const stored = paxSize(pax, 'size', this.#what) ?? this.#header.size
    if (!(stored >= 0)) throw new FsError('EINVAL', `${this.#what}: a size of ${stored} bytes`)
    const map = type === 'S' ? await oldSparseMap(this.#record, this.#queue) : undefined
    this.#end = this.#queue.position + stored + padding(stored)
    const sparse = map ?? (await this.#paxSparse())
    if (sparse === undefined) {
      return { size: stored, position: this.#queue.position, content: this.#queue.stream(stored) }
    }
    if (this.#queue.position + storedSize(sparse) > this.#end) {
      throw new FsError('EINVAL', `${this.#what}: its map names more bytes than are stored`)
    }
    const { size, pieces } = sparse
    return {
      ...{ size, sparse: { position: this.#queue.position, pieces } },
      content: filled(sparse, this.#queue),
      placed: placed(sparse, this.#queue),
    }
  }

  async #paxSparse(): Promise<SparseMap | undefined> {
    const { records: pax } = this.#extended
    if (pax.get('GNU.sparse.major') === '1') {
      return await headSparseMap(paxSize(pax, 'GNU.sparse.realsize', this.#what) ?? 0, this.#queue)
    }
    return paxSparseMap(pax, this.#what)
  }
}

function padding(size: number): number {
  return (RECORD - (size % RECORD)) % RECORD
}

function untilNul(bytes: Buffer): Name {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
