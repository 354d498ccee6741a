import {
  ByteReader,
  type FileSystem,
  FsError,
  type Log,
  Postponed,
  type Progress,
  type WritableFileSystem,
} from '../../base/index.ts'
import * as abi from './abi.ts'
import type { Counters } from './counters.ts'
import type { DataPath } from './data-path.ts'
import { Request } from './decode.ts'
import { Reply } from './encode.ts'
import { hasFlag, MAX_READ, MAX_WRITE, type MountKind, type Negotiated, negotiate } from './init.ts'
import { OPERATIONS, type Operation, type OperationContext } from './opcodes.ts'
import { PostponedRequests } from './postponed-requests.ts'
import { OPEN_OPERATIONS, WRITE_OPERATIONS } from './write-opcodes.ts'

/** Room for one request: the kernel writes no more than its header, `max_write` and a structure. */
export const REQUEST_BUFFER_SIZE = MAX_WRITE + abi.FUSE_MIN_READ_BUFFER

export interface ProtocolOptions {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where the mount is writable; absent for a read-only mount. */
  readonly writable?: WritableFileSystem
  /** Lets the kernel collect written data in its page cache, for a writable mount. Default true. */
  readonly writebackCache?: boolean
  /** Tells the file system of each file that is opened for writing, for a writable mount. Default false. */
  readonly copyUpAtOpen?: boolean
  /** Root of the machine made the mount: it is told the names of `trusted.` attributes, nobody else is. Default false. */
  readonly namesTrusted?: boolean
  readonly log: Log
  /** Logs every request with its outcome. */
  readonly debug?: boolean
  readonly counters?: Counters
  /** Told once, when INIT was answered. */
  readonly onInit?: (negotiated: Negotiated) => void
}

/**
 * The kernel protocol without a transport: bytes of one request in, bytes of one reply out. The device loop
 * drives it, and so can a test without any mount.
 */
export class Protocol {
  /** Read the next request into this buffer. */
  readonly requestBytes = Buffer.alloc(REQUEST_BUFFER_SIZE)
  readonly #request = new Request(this.requestBytes)
  readonly #reply = new Reply(MAX_READ)
  readonly #options: ProtocolOptions
  readonly #kind: MountKind
  readonly #operations: ReadonlyMap<number, Operation>
  readonly #postponed = new PostponedRequests()
  #context: OperationContext

  constructor(options: ProtocolOptions) {
    const { fileSystem, dataPath, writable, copyUpAtOpen, namesTrusted = false } = options
    this.#options = options
    this.#kind = kindOf(options)
    this.#operations =
      writable === undefined
        ? OPERATIONS
        : new Map([...OPERATIONS, ...WRITE_OPERATIONS, ...(copyUpAtOpen === true ? OPEN_OPERATIONS : [])])
    this.#context = { fileSystem, dataPath, writable, namesTrusted, negotiated: { minor: 0, flags: 0 } }
  }

  /** The reply of the last `handle`, as many bytes as it returned. */
  get replyBytes(): Buffer {
    return this.#reply.bytes
  }

  /**
   * Handles the request of `length` bytes in `requestBytes`.
   * @returns bytes of the reply in `replyBytes`, or 0 where none is to be written here.
   */
  handle(length: number): number {
    this.#options.counters?.add('requests')
    return this.#handle(length)
  }

  /** Requests that wait for work of theirs. */
  get postponed(): number {
    return this.#postponed.size
  }

  /**
   * Goes on with requests that wait. `requestBytes` must not be in use.
   * @param send writes the reply of as many bytes
   */
  proceed(send: (size: number) => void): Progress {
    const progress = this.#postponed.advance()
    for (let next = this.#postponed.take(); next !== undefined; next = this.#postponed.take()) {
      this.requestBytes.set(next.request)
      const { length } = next.request
      const size = next.postponed.isAnswer ? this.#answer(length, next.postponed) : this.#handle(length)
      if (size > 0) send(size)
    }
    if (this.#postponed.size === 0) return 'done'
    return progress === 'done' ? 'more' : progress
  }

  #handle(length: number): number {
    const request = this.#request
    const reply = this.#reply
    reply.begin()
    let operation: Operation | undefined
    try {
      request.decodeHeader(length)
      if (request.opcode === abi.FUSE_INIT) return this.#init()
      operation = this.#operations.get(request.opcode)
      if (operation === undefined) throw new FsError('ENOSYS', `opcode ${request.opcode}`)
      const outcome = operation.handle(this.#context, request, reply)
      const size = outcome === 'reply' ? reply.finish(request.uniqueLow, request.uniqueHigh) : 0
      if (this.#options.debug === true)
        this.#trace(operation, outcome === 'reply' ? `${size} bytes` : outcome)
      return size
    } catch (error) {
      if (error instanceof Postponed) {
        if (this.#options.debug === true && operation !== undefined) this.#trace(operation, 'postponed')
        this.#postponed.add(error, this.requestBytes.subarray(0, length))
        return 0
      }
      return this.#fail(operation, error)
    }
  }

  /** The end of its work is the outcome of the request. */
  #answer(length: number, { work }: Postponed): number {
    const request = this.#request
    this.#reply.begin()
    request.decodeHeader(length)
    const operation = this.#operations.get(request.opcode)
    try {
      work.finish()
      if (this.#options.debug === true && operation !== undefined) this.#trace(operation, 'done')
      return this.#reply.finish(request.uniqueLow, request.uniqueHigh)
    } catch (error) {
      return this.#fail(operation, error)
    }
  }

  /** Turns the last reply, which the kernel did not take, into EIO. @returns its bytes */
  failLast(): number {
    return this.#reply.fail('EIO', this.#request.uniqueLow, this.#request.uniqueHigh)
  }

  /** An exception in a handler is an error reply and at most a log line, never a dead mount. */
  #fail(operation: Operation | undefined, error: unknown): number {
    const { uniqueLow, uniqueHigh, nodeId, opcode } = this.#request
    const name = operation?.name ?? `opcode ${opcode}`
    const code = error instanceof FsError ? error.code : 'EIO'
    if (!(error instanceof FsError)) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#options.log('error', `${name} node ${nodeId}: bug: ${text}`)
    } else if (code === 'EIO') {
      this.#options.log('error', `${name} node ${nodeId}: ${error.message}`)
    }
    if (this.#options.debug === true && operation !== undefined) this.#trace(operation, code)
    if (opcode === abi.FUSE_FORGET || opcode === abi.FUSE_BATCH_FORGET) return 0
    return this.#reply.fail(code, uniqueLow, uniqueHigh)
  }

  #init(): number {
    const request = this.#request
    const negotiated = negotiate(request.body, this.#reply, this.#kind)
    if (negotiated !== undefined && 'refused' in negotiated) {
      this.#options.log('error', negotiated.refused)
      return this.#reply.fail('EPROTO', request.uniqueLow, request.uniqueHigh)
    }
    if (negotiated !== undefined) {
      this.#context = { ...this.#context, negotiated }
      // fs/fuse/inode.c:fuse_get_cache_mask: with this cache no mtime of ours is looked at again.
      if (hasFlag(negotiated.flags, abi.FUSE_WRITEBACK_CACHE)) this.#options.writable?.clientKeepsTimes()
      this.#options.onInit?.(negotiated)
    }
    return this.#reply.finish(request.uniqueLow, request.uniqueHigh)
  }

  #trace(operation: Operation, outcome: string): void {
    const request = this.#request
    const args = describe(operation, request, this.requestBytes)
    const { uniqueLow, nodeId, pid } = request
    this.#options.log(
      'debug',
      `${operation.name} #${uniqueLow} node=${nodeId} pid=${pid}${args} -> ${outcome}`,
    )
  }
}

function kindOf({ fileSystem, writable, writebackCache }: ProtocolOptions): MountKind {
  if (writable === undefined) return fileSystem.attributes === 'all' ? 'read-only-acls' : 'read-only'
  return writebackCache === false ? 'write-through' : 'write-back'
}

/** The arguments of a request for a debug line; a malformed request has none. */
function describe(operation: Operation, request: Request, bytes: Buffer): string {
  if (operation.describe === undefined) return ''
  try {
    request.decodeHeader(request.length)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const body = new ByteReader(view, abi.IN_HEADER_SIZE, request.length, 'debug')
    return ` ${operation.describe(request, body)}`
  } catch {
    return ' (malformed)'
  }
}
