import {
  type Baggage,
  type DataPath,
  type ErrnoCode,
  type FileSystem,
  FsError,
  type InodeNumber,
  type Log,
  MAX_READ,
  outcomeOf,
  Postponed,
  type Progress,
  type Turn,
  type WritableFileSystem,
} from '../../base/index.ts'
import * as abi from './abi.ts'
import { decodeInterruptIn, Request } from './decode.ts'
import { describeArguments } from './describe.ts'
import { Reply } from './encode.ts'
import { hasFlag, MAX_WRITE, type MountKind, type Negotiated, negotiate } from './init.ts'
import { DEFAULT_KERNEL_OPTIONS, type KernelOptions } from './kernel-options.ts'
import { OPERATIONS } from './opcodes.ts'
import type { Operation, OperationContext, Outcome } from './operation.ts'
import { PostponedRequests } from './postponed-requests.ts'
import { OPEN_OPERATIONS, WRITE_OPERATIONS } from './write-opcodes.ts'

/** Room for one request: the kernel writes no more than its header, `max_write` and a structure. */
export const REQUEST_BUFFER_SIZE = MAX_WRITE + abi.FUSE_MIN_READ_BUFFER

/** Counts requests. */
export interface RequestCounter {
  /** One more. */
  add(counter: 'requests'): void
}

/** What the protocol serves, and what it tells of it. */
export interface ProtocolOptions {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where the mount is writable; absent for a read-only mount. */
  readonly writable?: WritableFileSystem
  /** Root of the machine made the mount: it is told the names of `trusted.` attributes, nobody else is. Default false. */
  readonly namesTrusted?: boolean
  /** Told which request is handled, where reads of layers may postpone it. */
  readonly turn?: Turn
  /** The inode number to show for one of the file system, the same for both each time. Default: that number. */
  readonly shownInode?: (ino: InodeNumber) => number
  readonly log: Log
  /** `ino32` is done by `shownInode`. */
  readonly kernel?: Partial<KernelOptions>
  readonly counters?: RequestCounter
  /** Told once, when INIT was answered. */
  readonly onInit?: (negotiated: Negotiated) => void
}

/** Stands for arguments that could not be decoded. */
const MALFORMED = { malformed: true }

/**
 * The kernel protocol without a transport: bytes of one request in, bytes of one reply out. The device loop
 * drives it, and so can a test without any mount.
 */
export class Protocol {
  /** Read the next request into this buffer. */
  readonly requestBytes = Buffer.alloc(REQUEST_BUFFER_SIZE)
  readonly #request = new Request(this.requestBytes)
  readonly #reply: Reply
  readonly #options: ProtocolOptions
  readonly #debug: boolean
  readonly #kind: MountKind
  readonly #operations: ReadonlyMap<number, Operation>
  readonly #postponed: PostponedRequests
  #context: OperationContext
  #replySize = 0

  constructor(options: ProtocolOptions) {
    const { fileSystem, dataPath, writable, namesTrusted = false } = options
    const { debug, writeback, copyUpAtOpen } = { ...DEFAULT_KERNEL_OPTIONS, ...options.kernel }
    this.#options = options
    this.#debug = debug
    this.#reply = new Reply(MAX_READ, options.shownInode)
    this.#postponed = new PostponedRequests(options.turn)
    this.#kind = kindOf(options, writeback)
    this.#operations =
      writable === undefined
        ? OPERATIONS
        : new Map([...OPERATIONS, ...WRITE_OPERATIONS, ...(copyUpAtOpen ? OPEN_OPERATIONS : [])])
    this.#context = { fileSystem, dataPath, writable, namesTrusted, negotiated: { minor: 0, flags: 0 } }
  }

  /** Where the reply lies whenever there is one. */
  get replyBytes(): Buffer {
    return this.#reply.bytes
  }

  /** Bytes of that reply. */
  get replySize(): number {
    return this.#replySize
  }

  /**
   * Handles the request of `length` bytes in `requestBytes`.
   * @returns 'reply' where there is one to be sent
   */
  handle(length: number): Outcome {
    this.#options.counters?.add('requests')
    return this.#handle(length)
  }

  /** Requests that wait for work of theirs. */
  get postponed(): number {
    return this.#postponed.size
  }

  /**
   * Goes on with requests that wait. `requestBytes` must not be in use.
   * @param send is called for each reply
   */
  proceed(send: () => void): Progress {
    const progress = this.#postponed.advance()
    for (let next = this.#postponed.take(); next !== undefined; next = this.#postponed.take()) {
      this.requestBytes.set(next.request)
      const { length } = next.request
      const outcome = next.postponed.isAnswer
        ? this.#answer(length, next.postponed)
        : this.#handle(length, next.baggage)
      if (outcome === 'reply') send()
    }
    if (this.#postponed.size === 0) return 'done'
    return progress === 'done' ? 'more' : progress
  }

  #handle(length: number, baggage?: Baggage): Outcome {
    const { turn } = this.#options
    const request = this.#request
    const reply = this.#reply
    reply.begin()
    let operation: Operation | undefined
    let args: unknown = MALFORMED
    try {
      request.decodeHeader(length)
      if (request.opcode === abi.FUSE_INIT) return this.#init()
      if (request.opcode === abi.FUSE_INTERRUPT) return this.#interrupt()
      operation = this.#operations.get(request.opcode)
      if (operation === undefined) throw new FsError('ENOSYS', `opcode ${request.opcode}`)
      args = operation.decode(request, this.#context)
      // A FORGET is not taken back, so it is not begun twice either.
      if (!isForget(request.opcode)) turn?.begin(baggage)
      const outcome = operation.handle(this.#context, request, reply, args)
      if (outcome === 'reply') this.#finish()
      if (this.#debug) {
        this.#trace(operation, args, outcome === 'reply' ? `${this.#replySize} bytes` : outcome)
      }
      return outcome
    } catch (error) {
      if (error instanceof Postponed) {
        if (this.#debug && operation !== undefined) this.#trace(operation, args, 'postponed')
        this.#postponed.add(error, this.requestBytes.subarray(0, length), turn?.baggage)
        return 'taken'
      }
      return this.#fail(operation, args, error)
    } finally {
      turn?.end()
    }
  }

  /** The end of its work is the outcome of the request. */
  #answer(length: number, { work }: Postponed): Outcome {
    const request = this.#request
    this.#reply.begin()
    request.decodeHeader(length)
    const operation = this.#operations.get(request.opcode)
    // It was decoded without an error before.
    const args = this.#debug ? operation?.decode(request, this.#context) : undefined
    try {
      work.finish()
      if (this.#debug && operation !== undefined) this.#trace(operation, args, 'done')
      return this.#finish()
    } catch (error) {
      return this.#fail(operation, args, error)
    }
  }

  /** Turns the last reply, which the kernel did not take, into EIO. */
  failLast(): void {
    this.#refuse('EIO')
  }

  #finish(): 'reply' {
    this.#replySize = this.#reply.finish(this.#request.token)
    return 'reply'
  }

  #refuse(code: ErrnoCode): 'reply' {
    this.#replySize = this.#reply.fail(code, this.#request.token)
    return 'reply'
  }

  /** An exception in a handler is an error reply and at most a log line, never a dead mount. */
  #fail(operation: Operation | undefined, args: unknown, error: unknown): Outcome {
    const { nodeId, opcode } = this.#request
    const name = operation?.name ?? `opcode ${opcode}`
    const { code, complaint } = outcomeOf(error, `${name} node ${nodeId}`)
    if (complaint !== undefined) this.#options.log('error', complaint)
    if (this.#debug && operation !== undefined) this.#trace(operation, args, code)
    if (isForget(opcode)) return 'no-reply'
    return this.#refuse(code)
  }

  #init(): 'reply' {
    const negotiated = negotiate(this.#request.body, this.#reply, this.#kind)
    if (negotiated !== undefined && 'refused' in negotiated) {
      this.#options.log('error', negotiated.refused)
      return this.#refuse('EPROTO')
    }
    if (negotiated !== undefined) {
      this.#context = { ...this.#context, negotiated }
      // fs/fuse/inode.c:fuse_get_cache_mask: with this cache no mtime of ours is looked at again.
      if (hasFlag(negotiated.flags, abi.FUSE_WRITEBACK_CACHE)) this.#options.writable?.clientKeepsTimes()
      this.#options.onInit?.(negotiated)
    }
    return this.#finish()
  }

  /** A request that waits for bytes of a disk ends here; anything else goes on to its own end. */
  #interrupt(): Outcome {
    const token = decodeInterruptIn(this.#request)
    const isOver = this.#postponed.giveUp(token)
    if (this.#debug) {
      this.#options.log('debug', `INTERRUPT of #${token.low} -> ${isOver ? 'EINTR' : 'no-reply'}`)
    }
    if (!isOver) return 'no-reply'
    this.#replySize = this.#reply.fail('EINTR', token)
    return 'reply'
  }

  #trace(operation: Operation, args: unknown, outcome: string): void {
    const { token, nodeId, pid } = this.#request
    const text = describeArguments(args)
    const where = `#${token.low} node=${nodeId} pid=${pid}`
    this.#options.log('debug', `${operation.name} ${where}${text === '' ? '' : ` ${text}`} -> ${outcome}`)
  }
}

function isForget(opcode: number): boolean {
  return opcode === abi.FUSE_FORGET || opcode === abi.FUSE_BATCH_FORGET
}

function kindOf({ fileSystem, writable }: ProtocolOptions, writeback: boolean): MountKind {
  if (writable === undefined) return fileSystem.attributes === 'all' ? 'read-only-acls' : 'read-only'
  return writeback ? 'write-back' : 'write-through'
}
