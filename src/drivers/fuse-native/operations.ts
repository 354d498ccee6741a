import { isUtf8 } from 'node:buffer'
import {
  type AnswerBuffer,
  type BlockStore,
  ERRNO,
  type FileSystem,
  FsError,
  type Log,
  outcomeOf,
} from '../../base/index.ts'
import { type Counter, InlineDataPath } from '../../fuse/index.ts'
import { readHostFile } from '../../molecule/index.ts'
import { NodePaths } from './node-paths.ts'
import type { Answer, PackageMount } from './package.ts'
import {
  decodeName,
  encodeName,
  encodeStat,
  encodeStatFs,
  inodeNumbers,
  listDirectory,
} from './representation.ts'

export interface OperationOptions {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  /** Bytes of decoded blocks. */
  readonly cacheSize: number
  readonly log: Log
  /** Logs every request with its outcome. */
  readonly debug: boolean
  /** Only root of the machine can send requests, so names of `trusted.` attributes are listed. Default false. */
  readonly namesTrusted?: boolean
}

/** Longest target of a symbolic link that the package passes on, bytes (PATH_MAX, without its NUL). */
const MAX_LINK_TARGET = 4095

/**
 * Operations that would change something. The mount is read-only: the kernel sends them only after a remount as
 * writable.
 */
const WRITING =
  'mknod mkdir unlink rmdir symlink rename link chmod chown truncate ftruncate utimens create write setxattr removexattr'

/**
 * Answers the package from the file system that the built-in server serves. Each answer is given before the call
 * returns, one request at a time.
 */
export class Operations {
  /** Requests by the names of their operations. */
  readonly operations: Record<string, number> = {}
  readonly counters: Record<Counter, number> = {
    ...{
      requests: 0,
      openFiles: 0,
      cacheHits: 0,
      cacheMisses: 0,
      inlineReads: 0,
      pooledReads: 0,
      failedReads: 0,
    },
  }
  readonly #options: OperationOptions
  readonly #paths: NodePaths
  readonly #data: InlineDataPath
  #decoded = 0
  #toldLeft = false

  constructor(options: OperationOptions) {
    const { fileSystem, store, cacheSize } = options
    this.#options = options
    this.#paths = new NodePaths(fileSystem)
    const readBlock: BlockStore['readBlock'] = (block, target) => {
      this.#decoded += 1
      return store.readBlock(block, target)
    }
    this.#data = new InlineDataPath(fileSystem, { readBlock }, readHostFile, cacheSize)
  }

  /**
   * The operations, by the package's names for them. `open` and `release` are missing on purpose: libfuse answers them
   * itself, and this class keeps no state of open files.
   */
  table(): Readonly<Record<string, unknown>> {
    const { fileSystem } = this.#options
    const shownInode = inodeNumbers(fileSystem.statfs().files)
    const refuse = (...args: readonly unknown[]): void => (args.at(-1) as Answer)(-ERRNO.EROFS)
    const handle = this.#handle.bind(this)
    return {
      ...Object.fromEntries(WRITING.split(' ').map((name) => [name, refuse])),
      getattr: (path: string, answer: Answer) =>
        handle('getattr', path, answer, (node) =>
          answer(0, encodeStat(fileSystem.getattr(node), shownInode)),
        ),
      readlink: (path: string, answer: Answer) =>
        handle('readlink', path, answer, (node) => answer(0, asText(fileSystem.readlink(node)))),
      readdir: (path: string, answer: Answer) =>
        handle('readdir', path, answer, (node) => {
          const { names, stats, left } = listDirectory(fileSystem, node, shownInode)
          if (left > 0) this.#tellLeft(path)
          answer(0, names, stats)
        }),
      read: (path: string, _handle: number, room: Buffer, size: number, offset: number, answer: Answer) =>
        handle('read', path, answer, (node) => answer(this.#read(node, offset, size, room))),
      statfs: (path: string, answer: Answer) =>
        handle('statfs', path, answer, () => answer(0, encodeStatFs(fileSystem.statfs()))),
      // Present so that libfuse calls them; `answerAttributes` replaces them.
      getxattr: refuse,
      listxattr: refuse,
    }
  }

  /**
   * Answers requests for attributes through internals of the package. The public operations do not get the size of the
   * caller's buffer; libfuse would send memory beyond a buffer that is too small.
   */
  answerAttributes(mount: PackageMount): void {
    const { fileSystem, namesTrusted = false } = this.#options
    mount._op_getxattr = (signal, path, name, room) => {
      const answer: Answer = (result) => signal(result, room.buffer)
      this.#handle('getxattr', path, answer, (node) => {
        const value = fileSystem.getxattr(node, encodeName(name))
        if (value === undefined) throw new FsError('ENODATA', name)
        answer(fill(room, value))
      })
    }
    mount._op_listxattr = (signal, path, room) => {
      const answer: Answer = (result) => signal(result, room.buffer)
      this.#handle('listxattr', path, answer, (node) => {
        const names = fileSystem
          .listxattr(node)
          .filter((name) => decodeName(name) !== undefined && (namesTrusted || !name.startsWith('trusted.')))
        answer(fill(room, Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1')))
      })
    }
  }

  #read(nodeId: number, offset: number, size: number, room: Buffer): number {
    let filled = 0
    const answer: AnswerBuffer = {
      get length() {
        return filled
      },
      rewind: (mark) => {
        filled = mark
      },
      claim: (length) => {
        filled += length
        return room.subarray(filled - length, filled)
      },
    }
    const before = this.#decoded
    try {
      this.#data.read({ nodeId, offset, size }, answer)
    } catch (error) {
      this.counters.failedReads += 1
      throw error
    }
    const wasCached = this.#decoded === before
    this.counters[wasCached ? 'cacheHits' : 'cacheMisses'] += 1
    if (!wasCached) this.counters.inlineReads += 1
    return filled
  }

  /** Logs once: a walk of the tree would repeat it. */
  #tellLeft(path: string): void {
    if (this.#toldLeft) return
    this.#toldLeft = true
    const where = `in ${path} and maybe elsewhere`
    this.#options.log('warn', `names that are not UTF-8 are not shown by driver=fuse-native: ${where}`)
  }

  /** Runs one operation. Every error becomes an answer; otherwise the caller would wait for ever. */
  #handle(name: string, path: string, answer: Answer, run: (node: number) => void): void {
    const { log, debug } = this.#options
    this.counters.requests += 1
    const operation = name.toUpperCase()
    this.operations[operation] = (this.operations[operation] ?? 0) + 1
    let outcome = 'done'
    try {
      run(this.#paths.resolve(path))
    } catch (error) {
      const { code, complaint } = outcomeOf(error, `${name} ${path}`)
      if (complaint !== undefined) log('error', complaint)
      outcome = code
      answer(-ERRNO[code])
    }
    if (debug) log('debug', `${name} ${JSON.stringify(path)} -> ${outcome}`)
  }
}

/** @throws FsError ENAMETOOLONG, EOPNOTSUPP for a target that the package cannot pass on as it is */
function asText(target: Uint8Array): string {
  if (target.length > MAX_LINK_TARGET) throw new FsError('ENAMETOOLONG', `link of ${target.length} bytes`)
  if (!isUtf8(target)) throw new FsError('EOPNOTSUPP', 'link to a name that is not UTF-8')
  return Buffer.from(target).toString('utf8')
}

/** The size/data convention of getxattr(2): without room the caller asks for the size. @throws FsError ERANGE */
function fill(room: Buffer, value: Uint8Array): number {
  if (room.length > 0) {
    if (value.length > room.length) throw new FsError('ERANGE', `${value.length} bytes`)
    room.set(value)
  }
  return value.length
}
