import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import {
  type BlockReader,
  complaintOf,
  decodePath,
  direntType,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Layer,
  type LayerEntry,
  omitUndefined,
  type PathText,
  printable,
  type Ref,
  type Stat,
} from '../../base/index.ts'
import { FileContent } from './content.ts'
import { resolveInside } from './resolve.ts'

/** What a name in an image stands for. */
export type FileType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'block-device'
  | 'character-device'
  | 'fifo'
  | 'socket'

/** One name in an image. */
export interface ImageEntry {
  /** The path that was asked for and what lies below it, with a slash before it: `/etc/hosts`. */
  readonly path: PathText
  /** The last part of `path`. */
  readonly name: PathText
  readonly type: FileType
  readonly stat: Stat
}

/** How a path is looked up. */
export interface PathOptions {
  /** Whether symbolic links are followed, within the image; `false` by default. */
  readonly follow?: boolean
}

/** Which entries are wanted. */
export interface EntriesOptions extends PathOptions {
  /** Whether the directories below are entered, too; `true` by default. */
  readonly recursive?: boolean
  /** Ends the walk before its next entry: it throws the reason of the signal. */
  readonly signal?: AbortSignal
}

/** Which part of a file is wanted. */
export interface ReadStreamOptions extends PathOptions {
  /** First byte; 0 by default. */
  readonly start?: number
  /** Byte at which to stop, itself not read; by default, and at most, the end of the file. */
  readonly end?: number
  /** Destroys the stream with an `AbortError`. */
  readonly signal?: AbortSignal
}

/** The parts that a reader is made of. */
export interface ImageParts {
  readonly layer: Layer
  readonly blocks: BlockReader
  /** Most bytes that a block of the image decodes to. */
  readonly blockSize: number
  /** Runs once, at the end of the use. */
  readonly close: () => void
}

/** DT_* (readdir(3)). */
const TYPES: Readonly<Record<number, FileType>> = {
  1: 'fifo',
  2: 'character-device',
  4: 'directory',
  6: 'block-device',
  8: 'file',
  10: 'symlink',
  12: 'socket',
}

/** Characters of a path: a directory deeper than this is not entered, so that an image cannot fill the memory. */
const LONGEST_PATH = 1 << 16

/** Entries after which a walk lets the rest of the program run. */
const ENTRIES_AT_ONCE = 256

/**
 * An image, open for reading without a mount. Everything is shown as it is stored: marks of overlays are names and
 * attributes as others. Symbolic links are not followed unless the call says so, and then never out of the image.
 * Reading waits for the disk on the thread that calls. Paths are text as `PathText` has it.
 *
 * Every method throws FsError: ENOENT, ENOTDIR and ELOOP for the path, EINVAL for one that is no text, EIO for damage and
 * for what does not match the root hash, EBADF after `close`.
 */
export class ImageReader {
  readonly #layer: Layer
  readonly #content: FileContent
  #close: (() => void) | undefined

  constructor({ layer, blocks, blockSize, close }: ImageParts) {
    this.#layer = layer
    this.#content = new FileContent(layer, blocks, blockSize)
    this.#close = close
  }

  /** Attributes of a file; those of a symbolic link itself unless links are followed. Times in seconds since 1970. */
  stat(path: PathText, options: PathOptions = {}): Stat {
    return this.#layer.stat(this.#resolve(path, options))
  }

  /** The target of a symbolic link, as it is stored. @throws FsError EINVAL where it is no link */
  readlink(path: PathText): PathText {
    const ref = this.#resolve(path, {})
    if (!isSymlink(this.#layer.stat(ref).mode)) {
      throw new FsError('EINVAL', `${this.#layer.label}: ${printable(path)} is no symbolic link`)
    }
    return decodePath(this.#layer.readlink(ref))
  }

  /**
   * The extended attributes by their full names (`user.x`, `security.capability`), as they are stored: marks of overlays
   * are among them. Those of a symbolic link itself unless links are followed.
   */
  xattrs(path: PathText, options: PathOptions = {}): ReadonlyMap<PathText, Buffer> {
    const ref = this.#resolve(path, options)
    const found = new Map<PathText, Buffer>()
    for (const name of this.#layer.listxattr(ref)) {
      const value = this.#layer.getxattr(ref, name)
      if (value !== undefined) found.set(decodePath(Buffer.from(name, 'latin1')), Buffer.from(value))
    }
    return found
  }

  /** The entries of one directory, in byte order of their names. @throws FsError ENOTDIR */
  readdir(path: PathText, options: PathOptions = {}): readonly ImageEntry[] {
    const directory = this.#resolveDirectory(path, options)
    return [...this.#list(directory, prefixOf(path))].map(({ entry }) => entry)
  }

  /**
   * Walks what lies below a directory: a directory comes before what it holds. Links are never entered; `follow`
   * concerns `path` alone. Nothing of the tree is held but the way down to the current entry, and the rest of the
   * program runs meanwhile.
   * @throws FsError ENOTDIR where `path` is no directory; ENAMETOOLONG for paths of more than 65536 characters
   */
  async *entries(path: PathText = '/', options: EntriesOptions = {}): AsyncGenerator<ImageEntry, void, void> {
    const { recursive = true, signal } = options
    signal?.throwIfAborted()
    const open = [this.#list(this.#resolveDirectory(path, options), prefixOf(path))]
    let given = 0
    for (let listing = open.at(-1); listing !== undefined; listing = open.at(-1)) {
      const next = listing.next()
      if (next.done === true) {
        open.pop()
        continue
      }
      const { entry, ref } = next.value
      yield entry
      if (recursive && entry.type === 'directory') open.push(this.#list(ref, `${entry.path}/`))
      signal?.throwIfAborted()
      given += 1
      if (given % ENTRIES_AT_ONCE === 0) await setImmediate()
    }
  }

  /**
   * The content of a regular file. Blocks are read, verified where there is a root hash, and decoded one by one as the
   * stream is read. An error found meanwhile destroys the stream; it is an FsError unless the signal is the reason.
   * @throws FsError EISDIR; ELOOP for a symbolic link that is not followed; EINVAL for what is no file, and for a range
   *   that is none
   */
  readStream(path: PathText, options: ReadStreamOptions = {}): Readable {
    const ref = this.#resolve(path, options)
    const { mode, size } = this.#layer.stat(ref)
    if (!isRegular(mode)) throw this.#noFile(path, mode)
    const { start = 0, end = size, signal } = options
    const isEnd = end === Number.POSITIVE_INFINITY || Number.isSafeInteger(end)
    if (!Number.isSafeInteger(start) || start < 0 || !isEnd || end < start) {
      throw new FsError('EINVAL', `${printable(path)}: bytes ${start} to ${end}`)
    }
    const last = Math.min(end, size)
    let at = start
    const read = (): Buffer | null => {
      if (at >= last) return null
      this.#assertOpen()
      const piece = this.#content.piece(ref, at, last)
      at += piece.length
      return piece
    }
    return new Readable({
      ...omitUndefined({ signal }),
      read() {
        try {
          this.push(read())
        } catch (error) {
          this.destroy(error as Error)
        }
      },
    })
  }

  /** Ends the use of the image, also that of streams and walks that are under way. May be called twice. */
  close(): void {
    this.#close?.()
    this.#close = undefined
  }

  *#list(directory: Ref, prefix: PathText): Generator<{ readonly entry: ImageEntry; readonly ref: Ref }> {
    this.#assertOpen()
    if (prefix.length > LONGEST_PATH) {
      throw new FsError(
        'ENAMETOOLONG',
        `${this.#layer.label}: a path of more than ${LONGEST_PATH} characters`,
      )
    }
    const listing = this.#layer.openDirectory(directory, 0)
    for (let entry = listing.next(); entry !== undefined; entry = listing.next()) {
      const ref = this.#shownRef(directory, entry)
      if (ref !== undefined) yield { entry: this.#entry(entry, ref, prefix), ref }
      this.#assertOpen()
    }
  }

  /** Undefined for the later one of two entries with one name. */
  #shownRef(directory: Ref, entry: LayerEntry): Ref | undefined {
    if (entry.unsorted !== true) return entry.ref
    // What a search does not find by its name is still listed, as the kernel does.
    const found = this.#layer.lookup(directory, entry.name)
    return found === undefined || found.ref === entry.ref ? entry.ref : undefined
  }

  #entry(entry: LayerEntry, ref: Ref, prefix: PathText): ImageEntry {
    const stat = this.#layer.stat(ref)
    const name = decodePath(Buffer.from(entry.name, 'latin1'))
    const type = TYPES[direntType(stat.mode)]
    if (type === undefined || direntType(stat.mode) !== entry.type) {
      throw new FsError('EIO', `${this.#layer.label}: ${printable(prefix + name)} has two types`)
    }
    return { path: prefix + name, name, type, stat }
  }

  #resolveDirectory(path: PathText, options: PathOptions): Ref {
    const ref = this.#resolve(path, options)
    if (isDirectory(this.#layer.stat(ref).mode)) return ref
    throw new FsError('ENOTDIR', `${this.#layer.label}: ${printable(path)} is no directory`)
  }

  #resolve(path: PathText, { follow = false }: PathOptions): Ref {
    this.#assertOpen()
    const complaint = complaintOf('the path', path)
    if (complaint !== undefined) throw new FsError('EINVAL', complaint)
    return resolveInside(this.#layer, path, follow)
  }

  #noFile(path: PathText, mode: number): FsError {
    const code = isDirectory(mode) ? 'EISDIR' : TYPES[direntType(mode)] === 'symlink' ? 'ELOOP' : 'EINVAL'
    return new FsError(code, `${this.#layer.label}: ${printable(path)} is no regular file`)
  }

  #assertOpen(): void {
    if (this.#close === undefined) throw new FsError('EBADF', `${this.#layer.label}: the image is closed`)
  }
}

/** What stands before the names in a directory: the path without doubled and trailing slashes, and a slash. */
function prefixOf(path: PathText): PathText {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  return parts.length === 0 ? '/' : `/${parts.join('/')}/`
}
