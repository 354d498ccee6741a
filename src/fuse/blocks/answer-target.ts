import type { ErrnoCode, ReplyToken } from '../../base/index.ts'
import { HOLE } from './jobs.ts'

/**
 * Where the answer to a READ goes from the shared cache. One answer at a time: `begin`, the pieces in file order, then
 * `send` or `fail`. Each thread has its own target.
 */
export interface AnswerTarget {
  /** Begins the answer to one READ. */
  begin(token: ReplyToken): void
  /** `length` bytes of a slot, from `from`. The slot is READY and stays pinned until `send` has returned. */
  place(slot: number, from: number, length: number): void
  /** `length` zero bytes, at most `ZEROS_SIZE`. */
  zeros(length: number): void
  /** Sends the answer. If the receiver refuses it but still waits, it gets EIO; nothing is thrown. */
  send(): void
  /** Drops the pieces and answers with an error. */
  fail(code: ErrnoCode): void
}

/** Sends the answer `token`. @param segments three ints each: slot (READY and pinned) or HOLE, from, length */
export function sendSegments(target: AnswerTarget, token: ReplyToken, segments: Int32Array): void {
  target.begin(token)
  for (let i = 0; i < segments.length; i += 3) {
    const slot = segments[i] ?? HOLE
    const length = segments[i + 2] ?? 0
    if (slot === HOLE) target.zeros(length)
    else target.place(slot, segments[i + 1] ?? 0, length)
  }
  target.send()
}

/** Answers `token` with an error. */
export function sendFailure(target: AnswerTarget, token: ReplyToken, code: ErrnoCode): void {
  target.begin(token)
  target.fail(code)
}
