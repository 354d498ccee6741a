import {
  type DataPath,
  type ErrnoCode,
  type FileSystem,
  FsError,
  type WritableFileSystem,
} from '../../base/index.ts'
import type { ChangeGate } from './change-gate.ts'
import type { Request } from './decode.ts'
import type { Reply } from './encode.ts'
import type { Negotiated } from './init.ts'

/**
 * The end of a handler that did not throw. `reply`: the caller sends the reply. `no-reply`: the kernel wants none.
 * `taken`: the data path or a worker has sent the reply, or it comes later.
 */
export type Outcome = 'reply' | 'no-reply' | 'taken'

export interface OperationContext {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where it can be changed. */
  readonly writable: WritableFileSystem | undefined
  /** Holds changes back; absent where nobody can ask for it. */
  readonly gate: ChangeGate | undefined
  /** See `ProtocolOptions`. */
  readonly namesTrusted: boolean
  /** What INIT negotiated; before INIT its values are 0. */
  readonly negotiated: Negotiated
}

/**
 * One row per opcode, with all that the protocol knows about it. `row` makes it and checks that `handle` takes what
 * `decode` gives.
 */
export interface Operation {
  readonly name: string
  /**
   * Reads the arguments, once for each attempt and before any change. The debug line shows the result.
   * @throws FsError EIO for a body that does not match its structure; else the errno of a value that no file system
   *   takes
   */
  decode(request: Request, context: OperationContext): unknown
  /** @param args the result of `decode`. @throws FsError, Postponed */
  handle(context: OperationContext, request: Request, reply: Reply, args: unknown): Outcome
}

/**
 * A row of the table of operations: what its arguments are, and what is done with them, agree in their types.
 */
export function row<Args>(
  name: string,
  decode: (request: Request, context: OperationContext) => Args,
  handle: (context: OperationContext, request: Request, reply: Reply, args: Args) => Outcome,
): Operation {
  return { name, decode, handle }
}

/** For requests that have no body, or whose body does not matter. */
export const nothing = (): undefined => undefined

/** For requests with a name and nothing else. */
export const onlyName = (request: Request): string => request.name()

/** An operation that is always refused with this error. */
export function answersError(name: string, code: ErrnoCode): Operation {
  const error = new FsError(code, name)
  return row(name, nothing, () => {
    throw error
  })
}
