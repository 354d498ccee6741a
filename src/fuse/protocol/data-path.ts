import type { NodeId } from '../../base/index.ts'
import type { Reply } from './encode.ts'

/** The reply was or will be written by the data path itself: the dispatcher must not write one. */
export const REPLY_TAKEN = false
/** The payload is in `reply`: the dispatcher writes it. */
export const REPLY_FILLED = true

export interface ReadRequest {
  readonly uniqueLow: number
  readonly uniqueHigh: number
  readonly nodeId: NodeId
  readonly offset: number
  /** Bytes asked for; the reply is shorter only at the end of the file. */
  readonly size: number
}

/** Where the bytes of an answer go, in file order: a reply to the kernel, or a buffer of somebody else. */
export type ReadTarget = Pick<Reply, 'length' | 'zeros' | 'data' | 'claim' | 'rewind'>

/**
 * Answers READ. Two implementations give the same bytes: `InlineDataPath` decodes on the calling thread and is
 * the reference; `PooledDataPath` hands cold blocks to data workers.
 */
export interface DataPath {
  /** @throws FsError before anything was replied; never after */
  read(request: ReadRequest, reply: Reply): typeof REPLY_TAKEN | typeof REPLY_FILLED
}
