import type { NodeId } from './id.ts'

/** Largest READ, bytes: 256 pages, the most that a kernel allows without a sysctl. */
export const MAX_READ = 1 << 20

/**
 * Names one answer that somebody waits for. The transport makes it and alone knows what it means; everybody else hands
 * it on. Two ints of 32 bits, so that it can lie in shared memory. A transport may use one object for all requests:
 * whoever needs the token after its own return copies the ints.
 */
export interface ReplyToken {
  readonly low: number
  readonly high: number
}

export interface ReadRequest {
  readonly token: ReplyToken
  readonly nodeId: NodeId
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Bytes asked for, at most `MAX_READ`; the answer is shorter only at the end of the file. */
  readonly size: number
}

/** Receives the bytes of an answer, in file order: the reply to a request, or a buffer of the caller. */
export interface AnswerBuffer {
  /** Bytes so far. */
  readonly length: number
  /** Room for `size` bytes, which the caller fills before the answer is sent. */
  claim(size: number): Uint8Array
  /** Takes back what came after `length` was read as `mark`. */
  rewind(mark: number): void
}

/**
 * Answers READ. Two implementations give the same bytes: `InlineDataPath` decodes on the calling thread and is
 * the reference; `PooledDataPath` hands cold blocks to data workers.
 */
export interface DataPath {
  /**
   * @returns 'reply': the answer is in `answer`, and the caller sends it; 'taken': the data path has sent the answer of
   *   the token, or another thread will
   * @throws FsError before anything was sent; never after
   */
  read(request: ReadRequest, answer: AnswerBuffer): 'reply' | 'taken'
}
