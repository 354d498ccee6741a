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
import type { ChangeGate } from './change-gate.ts'
import { decodeInterruptIn, Request } from './decode.ts'
import { describeArguments } from './describe.ts'
import { Reply } from './encode.ts'
import { hasFlag, type MountKind, type Negotiated, negotiate, REQUEST_BUFFER_SIZE } from './init.ts'
import { DEFAULT_KERNEL_OPTIONS, type KernelOptions } from './kernel-options.ts'
import { OPERATIONS } from './opcodes.ts'
import { countingOperations } from './open-opcodes.ts'
import type { Operation, OperationContext, Outcome } from './operation.ts'
import { PostponedRequests } from './postponed-requests.ts'
import { type RequestMemory, UnderWay } from './under-way.ts'
import { OPEN_OPERATIONS, WRITE_OPERATIONS } from './write-opcodes.ts'

/** Room for a request and for a reply. */
export interface ProtocolBuffers {
  readonly requests: Buffer
  readonly replies: Buffer
}

/**
 * Only the pages that are written to become resident.
 * @param requests what other threads see of the requests; absent: nothing
 */
export function allocateProtocolBuffers(requests?: Pick<RequestMemory, 'request'>): ProtocolBuffers {
  return {
    requests: requests === undefined ? Buffer.alloc(REQUEST_BUFFER_SIZE) : Buffer.from(requests.request),
    replies: Buffer.alloc(abi.OUT_HEADER_SIZE + MAX_READ),
  }
}

/** Counts requests. */
export interface RequestCounter {
  /** Counts one request, when it was handled for the first time. */
  addRequest(opcode: number): void
  /** Adds to the number of files that are open now. */
  add(counter: 'openFiles', amount: number): void
}

/** What the protocol serves, and how it reports. */
export interface ProtocolOptions {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where the mount is writable; absent for a read-only mount. */
  readonly writable?: WritableFileSystem
  /** Holds changes of a writable mount back. */
  readonly gate?: ChangeGate
  /** Root of the machine made the mount. Only uid 0 then sees the names of `trusted.` attributes. Default false. */
  readonly namesTrusted?: boolean
  /** Knows which request is under way, where reads of layers may postpone it. */
  readonly turn?: Turn
  /** Maps an inode number of the file system to the one to show, always the same one. Default: no change. */
  readonly shownInode?: (ino: InodeNumber) => number
  readonly log: Log
  /** `shownInode` does the work of `ino32`. */
  readonly kernel?: Partial<KernelOptions>
  readonly counters?: RequestCounter
  /** Buffers that this object shares with others of its thread: only one handles a request at a time. */
  readonly buffers?: ProtocolBuffers
  /** Tells other threads which requests have no answer. Absent: nobody asks. Goes with buffers of the same memory. */
  readonly requests?: RequestMemory | undefined
  /** What an earlier thread negotiated for this mount: the kernel sends INIT but once. */
  readonly negotiated?: Negotiated | undefined
  /** Called once: INIT was negotiated, and its reply is not sent yet. */
  readonly onInit?: (negotiated: Negotiated) => void
}

/** In debug lines: arguments that could not be decoded. */
const MALFORMED = { malformed: true }

/**
 * The kernel protocol without a transport: takes the bytes of one request, gives the bytes of one reply. The device
 * loop drives it; a test can drive it without a mount.
 */
export class Protocol {
  /** Read the next request into this buffer. */
  readonly requestBytes: Buffer
  readonly #request: Request
  readonly #reply: Reply
  readonly #options: ProtocolOptions
  readonly #debug: boolean
  readonly #kind: MountKind
  readonly #operations: ReadonlyMap<number, Operation>
  readonly #postponed: PostponedRequests
  readonly #underWay: UnderWay | undefined
  #context: OperationContext
  #replySize = 0

  constructor(options: ProtocolOptions) {
    const { fileSystem, dataPath, writable, gate, namesTrusted = false, requests } = options
    const { debug, writeback, copyUpAtOpen, countsOpens } = { ...DEFAULT_KERNEL_OPTIONS, ...options.kernel }
    const buffers = options.buffers ?? allocateProtocolBuffers(requests)
    this.#options = options
    this.#underWay = requests && new UnderWay(requests)
    this.#debug = debug
    this.requestBytes = buffers.requests
    this.#request = new Request(buffers.requests)
    this.#reply = new Reply(buffers.replies, options.shownInode)
    this.#postponed = new PostponedRequests(options.turn, this.#underWay)
    this.#kind = kindOf(options, writeback)
    this.#operations =
      writable === undefined
        ? countsOpens
          ? new Map([...OPERATIONS, ...countingOperations(options.counters)])
          : OPERATIONS
        : new Map([...OPERATIONS, ...WRITE_OPERATIONS, ...(copyUpAtOpen ? OPEN_OPERATIONS : [])])
    this.#context = {
      ...{ fileSystem, dataPath, writable, gate, namesTrusted },
      negotiated: options.negotiated ?? { minor: 0, flags: 0 },
    }
  }

  /** Holds the reply whenever there is one. */
  get replyBytes(): Buffer {
    return this.#reply.bytes
  }

  /** Size of that reply, bytes. */
  get replySize(): number {
    return this.#replySize
  }

  /**
   * Handles the request of `length` bytes in `requestBytes`.
   * @returns 'reply' where the caller has to send `replyBytes`
   */
  handle(length: number): Outcome {
    this.#underWay?.begin()
    const outcome = this.#handle(length)
    this.#options.counters?.addRequest(this.#request.opcode)
    this.#underWay?.end()
    return outcome
  }

  /** To be called between two requests: the gate closes where somebody has asked for it. */
  settle(): void {
    this.#options.gate?.settle()
  }

  /** Number of postponed requests. */
  get postponed(): number {
    return this.#postponed.size
  }

  /**
   * Goes on with postponed requests. `requestBytes` must not be in use.
   * @param send called for each reply
   */
  proceed(send: () => void): Progress {
    const progress = this.#postponed.advance()
    for (let next = this.#postponed.take(); next !== undefined; next = this.#postponed.take()) {
      this.requestBytes.set(next.request)
      this.#underWay?.begin()
      const { length } = next.request
      const outcome = next.postponed.isAnswer
        ? this.#answer(length, next.postponed)
        : this.#handle(length, next.baggage)
      this.#postponed.drop(next)
      this.#underWay?.end()
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
      // A FORGET cannot be undone, so it must not run twice: it is never postponed.
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

  /** Answers a request whose outcome is the end of its work. */
  #answer(length: number, { work }: Postponed): Outcome {
    const request = this.#request
    this.#reply.begin()
    request.decodeHeader(length)
    const operation = this.#operations.get(request.opcode)
    // The first attempt decoded it without an error.
    const args = this.#debug ? operation?.decode(request, this.#context) : undefined
    try {
      work.finish()
      if (this.#debug && operation !== undefined) this.#trace(operation, args, 'done')
      return this.#finish()
    } catch (error) {
      return this.#fail(operation, args, error)
    }
  }

  /** Turns the last reply, which the kernel refused, into EIO. */
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

  /** An exception in a handler gives an error reply and at most a log line; the mount goes on. */
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
      // With the write-back cache the kernel takes no mtime from the file system (fs/fuse/inode.c:fuse_get_cache_mask).
      if (hasFlag(negotiated.flags, abi.FUSE_WRITEBACK_CACHE)) this.#options.writable?.clientKeepsTimes()
      this.#options.onInit?.(negotiated)
    }
    return this.#finish()
  }

  /** Ends a postponed request that waits for bytes of a disk, with EINTR. Every other request goes on to its end. */
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
