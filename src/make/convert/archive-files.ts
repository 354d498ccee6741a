import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from 'node:fs'
import { posix } from 'node:path'
import { readTar } from '../../../tar/index.ts'
import {
  encodePath,
  FsError,
  isSymlink,
  type Name,
  type PathText,
  systemPath,
  withFsError,
} from '../../base/index.ts'
import type { LayoutFiles } from '../../oci/index.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { decompressed, isCompressed } from '../decompressed.ts'

/** Most bytes of one document, and of all that are kept. */
const DOCUMENT_MAX = 4 << 20
const DOCUMENTS_MAX = 64 << 20
/** An archive of images has some ten files a layer. */
const FILES_MAX = 100_000
const LINKS_MAX = 8
const READ_AHEAD = 1 << 20
const HEAD = 6

interface StoredFile {
  /** Byte of the archive without compression. */
  readonly position: number
  readonly size: number
  readonly document?: Buffer
}

/** A link to another file of the archive. */
interface ArchivedLink {
  readonly target: Name
}

/**
 * The files of an archive of images, which lie in it as they are: found by one pass over the archive, and read from their
 * places. In a compressed archive each read begins at the start. Nothing is extracted.
 */
export class ArchiveFiles {
  readonly label: PathText
  readonly #fd: number
  readonly #isCompressed: boolean
  readonly #files = new Map<Name, StoredFile | ArchivedLink>()

  private constructor(path: PathText) {
    this.label = path
    this.#fd = withFsError(path, () => openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK))
    try {
      if (!fstatSync(this.#fd).isFile()) throw new FsError('EINVAL', `${path} is no regular file`)
      const head = Buffer.alloc(HEAD)
      this.#isCompressed = isCompressed(head.subarray(0, readSync(this.#fd, head, 0, HEAD, 0)))
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /** @throws FsError EINVAL for what is no archive; EIO, EFBIG, ENOENT, … */
  static async open(path: PathText): Promise<ArchiveFiles> {
    const files = new ArchiveFiles(path)
    try {
      await files.#read()
      return files
    } catch (error) {
      files.close()
      if (!(error instanceof FsError)) throw error
      throw new FsError(error.code, `${path}: ${error.message}`, { cause: error })
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** A JSON document of the archive; undefined where there is none of that path. */
  document(path: string): Buffer | undefined {
    const found = this.#find(path)
    return found?.document
  }

  /** Bytes of a file; undefined where there is none of that path. */
  sizeOf(path: string): number | undefined {
    return this.#find(path)?.size
  }

  /** The bytes of a file. @throws FsError ENOENT */
  stream(path: string): AsyncIterable<Uint8Array> {
    const found = this.#find(path)
    if (found === undefined)
      throw new FsError('ENOENT', `${this.label}: no file ${JSON.stringify(path)} in it`)
    return this.#content(found)
  }

  async *#content({ position, size }: StoredFile): AsyncGenerator<Uint8Array> {
    if (size === 0) return
    if (!this.#isCompressed) {
      yield* this.#bytes(position, position + size)
      return
    }
    let at = 0
    for await (const chunk of decompressed(this.#bytes(0), this.label)) {
      const wanted = chunk.subarray(Math.max(position - at, 0), Math.max(position + size - at, 0))
      if (wanted.length > 0) yield wanted
      at += chunk.length
      if (at >= position + size) return
    }
  }

  /** The documents of a layout in the archive. */
  layout(): LayoutFiles {
    return {
      name: this.label,
      read: (place, _limit, what) => {
        const path = place.join('/')
        const document = this.document(path)
        if (document !== undefined) return document
        throw new FsError('ENOENT', `${what}: no document ${path} in ${this.label}`)
      },
    }
  }

  async #read(): Promise<void> {
    let kept = 0
    for await (const entry of readTar(decompressed(this.#bytes(0), this.label))) {
      if (this.#files.size >= FILES_MAX) throw new FsError('EFBIG', `more than ${FILES_MAX} files`)
      const { path, link, target, position, size } = entry
      if (link !== undefined) this.#files.set(path, { target: link })
      else if (isSymlink(entry.mode) && target !== undefined) {
        const inside = posix.normalize(`/${posix.dirname(path)}/${Buffer.from(target).toString('latin1')}`)
        this.#files.set(path, { target: inside.slice(1) })
      } else if (position !== undefined) {
        const document = size > DOCUMENT_MAX ? undefined : await documentOf(entry.content)
        kept += document?.length ?? 0
        if (kept > DOCUMENTS_MAX) throw new FsError('EFBIG', `more than ${DOCUMENTS_MAX} bytes of documents`)
        this.#files.set(path, { position, size, ...(document && { document }) })
      }
    }
  }

  #bytes(start: number, end = Infinity): AsyncIterable<Uint8Array> {
    // A stream closes its descriptor, also where its end is not waited for.
    const place = { fd: duplicateDescriptor(this.#fd), start, highWaterMark: READ_AHEAD }
    return createReadStream('', end === Infinity ? place : { ...place, end: end - 1 })
  }

  #find(path: string): StoredFile | undefined {
    let name = posix.normalize(encodePath(path).toString('latin1'))
    for (let links = 0; links < LINKS_MAX; links++) {
      const found = this.#files.get(name)
      if (found === undefined || 'position' in found) return found
      name = found.target
    }
    return undefined
  }
}

/** The whole content if it begins as a document in JSON does: a layer does not. */
async function documentOf(content: AsyncIterable<Uint8Array>): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  for await (const chunk of content) {
    const [first] = chunk
    if (chunks.length === 0 && first !== 0x7b && first !== 0x5b) return undefined
    // The bytes lie in memory that is used again.
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks)
}
