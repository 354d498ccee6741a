import { closeSync, writeSync } from 'node:fs'
import type { ErrnoCode } from '../../base/index.ts'
import { failureCode, failureText } from './failure.ts'

/**
 * The channel to the parent: one line of JSON each way. The parent sends the request; the daemon answers with
 * `{ "ready": true, "warnings": [...] }` or `{ "error": "...", "code": "ENOENT" }` and closes it.
 */
export const CHANNEL_FD = 3

export type DaemonAnswer =
  | { readonly ready: true; readonly warnings: readonly string[] }
  | { readonly error: string; readonly code: ErrnoCode }

/** @throws EPIPE when the parent is gone */
export function sendAnswer(answer: DaemonAnswer): void {
  writeSync(CHANNEL_FD, `${JSON.stringify(answer)}\n`)
  closeSync(CHANNEL_FD)
}

/** Sends the parent the reason why there is no mount; a fault of this program comes with its place in the code. */
export function sendFailure(error: unknown): void {
  try {
    sendAnswer({ error: failureText(error), code: failureCode(error) })
  } catch {
    // The parent was killed, so there is no receiver.
  }
}
