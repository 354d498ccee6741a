import { codeOf } from '../../base/index.ts'

/**
 * Writes to standard output, and resolves when all of it is out: the program exits as soon as a command has ended, and
 * a pipe takes 64 KiB at once. A reader that has gone away is no error, as `head` does it.
 * @returns false where the reader has gone: nothing more need be written
 * @throws an error of `node:fs`, such as ENOSPC
 */
export function print(text: string | Uint8Array): Promise<boolean> {
  const { stdout } = process
  if (hasGone) return Promise.resolve(false)
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      if (codeOf(error) !== 'EPIPE') {
        reject(error)
        return
      }
      hasGone = true
      resolve(false)
    }
    stdout.once('error', onError)
    stdout.write(text, (error) => {
      if (error) return
      stdout.off('error', onError)
      resolve(true)
    })
  })
}

/** Whoever read standard output reads no more. */
let hasGone = false

/** Characters that are collected before they are written. */
const COLLECTED = 1 << 16

/** Prints many short pieces, some of them at a time. */
export class TextOutput {
  #text = ''
  /** Nobody reads any more: the rest need not be made. */
  isOver = false

  add(text: string): void {
    this.#text += text
  }

  /** Waits where much is collected. */
  async drained(): Promise<void> {
    if (this.#text.length >= COLLECTED) await this.end()
  }

  /** Writes what is left. */
  async end(): Promise<void> {
    const text = this.#text
    this.#text = ''
    if (text !== '' && !(await print(text))) this.isOver = true
  }
}
