import {
  type DataPath,
  type ErrnoCode,
  type FileSystem,
  FsError,
  type WritableFileSystem,
} from '../../base/index.ts'
import type { Request } from './decode.ts'
import type { Reply } from './encode.ts'
import type { Negotiated } from './init.ts'

/**
 * What happens after a handler returned without an error: the reply is sent; the kernel wants none; or somebody else has
 * sent it or will.
 */
export type Outcome = 'reply' | 'no-reply' | 'taken'

export interface OperationContext {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where it can be changed. */
  readonly writable: WritableFileSystem | undefined
  /** See `ProtocolOptions`. */
  readonly namesTrusted: boolean
  /** What INIT agreed on; before it, nothing. */
  readonly negotiated: Negotiated
}

/** One row per opcode: everything that is known of it stands in its row. Made by `row`, which checks that the two fit. */
export interface Operation {
  readonly name: string
  /**
   * Reads the arguments, once for each request and before anything is done. The debug line shows what it returns.
   * @throws FsError EIO for a body that is no such structure; else the errno for a value that nobody can serve
   */
  decode(request: Request, context: OperationContext): unknown
  /** @param args what `decode` gave. @throws FsError, Postponed */
  handle(context: OperationContext, request: Request, reply: Reply, args: unknown): Outcome
}

export function row<Args>(
  name: string,
  decode: (request: Request, context: OperationContext) => Args,
  handle: (context: OperationContext, request: Request, reply: Reply, args: Args) => Outcome,
): Operation {
  return { name, decode, handle }
}

/** For requests whose header says all, or whose body does not matter. */
export const nothing = (): undefined => undefined

/** For requests with a name and nothing else. */
export const onlyName = (request: Request): string => request.name()

export function answersError(name: string, code: ErrnoCode): Operation {
  const error = new FsError(code, name)
  return row(name, nothing, () => {
    throw error
  })
}
