import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, UsageError } from '../../base/index.ts'
import { print } from '../print/output.ts'
import { Screen } from '../print/screen.ts'

/** Seconds between two looks, where the user does not say. */
const DEFAULT_SECONDS = 2
const LEAST_SECONDS = 0.1
const MOST_SECONDS = 86_400

/** What the words `--watch [SECONDS] [TARGET]` ask for. */
export interface Watch {
  readonly seconds: number
  readonly target: string | undefined
}

/**
 * Reads the value of `--watch`. A word behind it that is no number is TARGET.
 * @throws UsageError
 */
export function parseWatch(value: string | true, target: string | undefined): Watch {
  if (value === true) return { seconds: DEFAULT_SECONDS, target }
  if (!/^[0-9.]+$/.test(value) && target === undefined) return { seconds: DEFAULT_SECONDS, target: value }
  const seconds = /^\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN
  if (seconds >= LEAST_SECONDS && seconds <= MOST_SECONDS) return { seconds, target }
  throw new UsageError(`option --watch=${value}: expected ${LEAST_SECONDS} to ${MOST_SECONDS} seconds`)
}

/**
 * Prints what `look` gives, again and again, until it fails or nobody reads the output any more. On a terminal each text
 * takes the place of the one before, under a line that says when it was; elsewhere it follows.
 * @throws what `look` throws
 */
export async function watch(seconds: number, isText: boolean, look: () => Promise<string>): Promise<void> {
  const out = process.stdout
  const closed = new Promise<'closed'>((resolve, reject) => {
    out.on('error', (error) => (codeOf(error) === 'EPIPE' ? resolve('closed') : reject(error)))
  })
  const screen = out.isTTY && isText ? new Screen(out) : undefined
  screen?.open()
  try {
    for (let isFirst = true; ; isFirst = false) {
      const text = await look()
      if (screen !== undefined) {
        screen.show(`every ${seconds} s, last at ${new Date().toLocaleTimeString()}; Ctrl-C ends\n\n${text}`)
      } else await print(isText && !isFirst ? `\n${text}` : text)
      if ((await Promise.race([sleep(seconds * 1000), closed])) === 'closed') return
    }
  } finally {
    screen?.close()
  }
}
