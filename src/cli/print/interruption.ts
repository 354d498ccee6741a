import { constants } from 'node:os'
import { formatLines } from './format.ts'

/** Signals that ask a command to end. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Does work that ends in an orderly way when a signal asks for it.
 * @param work gets what is aborted then, and may throw its reason
 * @param outcome what an interruption leaves, for the one line that says so
 * @returns the exit code of the work, or that of a program that a signal has ended
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<number>,
  outcome: string,
): Promise<number> {
  const controller = new AbortController()
  let got: NodeJS.Signals | undefined
  const stop = (name: NodeJS.Signals): void => {
    got ??= name
    controller.abort(new Error('interrupted'))
  }
  for (const name of SIGNALS) process.on(name, stop)
  try {
    return await work(controller.signal)
  } catch (error) {
    if (got === undefined) throw error
    process.stderr.write(formatLines([`Error: interrupted: ${outcome}`]))
    return 128 + constants.signals[got]
  } finally {
    for (const name of SIGNALS) process.off(name, stop)
  }
}
