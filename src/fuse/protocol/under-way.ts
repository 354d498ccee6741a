import type { NodeId, ReplyToken } from '../../base/index.ts'
import * as abi from './abi.ts'
import { REQUEST_BUFFER_SIZE } from './init.ts'

/**
 * Which requests have no answer yet, in memory that outlives the thread that reads them. That thread may end at any point
 * of its work, so it reads each request right into this memory: there is no moment at which it has a request and nobody
 * else can see which one.
 */
export interface RequestMemory {
  /** The request that was read last, or is handled again. */
  readonly request: SharedArrayBuffer
  /** Whether it is being handled, and the postponed requests. */
  readonly notes: SharedArrayBuffer
}

/** Most postponed requests that are noted. */
const MOST_NOTED = 1024

// Indices of the ints in `notes`. A note is the token of a request, or zeros.
const IS_HANDLING = 0
/** Postponed requests without a note. */
const UNNOTED = 1
const FIRST = 2

/** Place of a note; -1 for none. */
export type NoteAt = number

/** @param request memory of the requests of several mounts, of which one thread handles one at a time */
export function allocateRequestMemory(request = new SharedArrayBuffer(REQUEST_BUFFER_SIZE)): RequestMemory {
  return {
    request,
    notes: new SharedArrayBuffer((FIRST + 2 * MOST_NOTED) * Uint32Array.BYTES_PER_ELEMENT),
  }
}

/** Notes requests for the thread that answers them. */
export class UnderWay {
  readonly #ints: Uint32Array
  readonly #free = Array.from({ length: MOST_NOTED }, (_, i) => FIRST + 2 * (MOST_NOTED - 1 - i))

  /** What an earlier thread noted is dropped. */
  constructor({ notes }: Pick<RequestMemory, 'notes'>) {
    this.#ints = new Uint32Array(notes)
    this.#ints.fill(0)
  }

  /** The request in memory is being handled from now on. */
  begin(): void {
    this.#ints[IS_HANDLING] = 1
  }

  end(): void {
    this.#ints[IS_HANDLING] = 0
  }

  /** A request is postponed. */
  note({ low, high }: ReplyToken): NoteAt {
    const ints = this.#ints
    const at = this.#free.pop() ?? -1
    if (at < 0) ints[UNNOTED] = (ints[UNNOTED] ?? 0) + 1
    else {
      ints[at] = low
      ints[at + 1] = high
    }
    return at
  }

  /** It is answered, or noted again. */
  drop(at: NoteAt): void {
    const ints = this.#ints
    if (at < 0) ints[UNNOTED] = (ints[UNNOTED] ?? 1) - 1
    else {
      ints[at] = 0
      ints[at + 1] = 0
      this.#free.push(at)
    }
  }
}

/** What a thread left when it ended. */
export interface LeftBehind {
  /** What it was handling; absent where it ended between two requests. */
  readonly handled: { readonly opcode: number; readonly nodeId: NodeId } | undefined
  /** Requests that have no answer. The first one may have had one. */
  readonly tokens: readonly ReplyToken[]
  /** False where there are more of them. */
  readonly isComplete: boolean
}

/** To be called after the thread that reads requests has ended. */
export function leftBehind({ request, notes }: RequestMemory): LeftBehind {
  const ints = new Uint32Array(notes)
  const header = new DataView(request)
  const tokens: ReplyToken[] = []
  const add = (low: number, high: number): void => {
    if (low !== 0 || high !== 0) tokens.push({ low, high })
  }
  add(header.getUint32(8, true), header.getUint32(12, true))
  for (let at = FIRST; at < ints.length; at += 2) add(ints[at] ?? 0, ints[at + 1] ?? 0)
  const opcode = header.getUint32(4, true)
  const nodeId = header.getUint32(20, true) * 2 ** 32 + header.getUint32(16, true)
  const isHandling = ints[IS_HANDLING] === 1 && opcode !== abi.FUSE_INIT
  return {
    handled: isHandling ? { opcode, nodeId } : undefined,
    tokens,
    isComplete: ints[UNNOTED] === 0,
  }
}
