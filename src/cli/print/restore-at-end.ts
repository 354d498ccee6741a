/** Signals that end the program and would leave the terminal as it is. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Has the terminal restored when a signal ends the program. The program then ends by that signal, so that the caller
 * sees which one it was.
 * @param restore called once, also where the program ends by itself while the terminal is changed
 * @returns to be called when the terminal is as before
 */
export function restoreAtEnd(restore: () => void): () => void {
  const forget = (): void => {
    for (const signal of ENDING) process.off(signal, end)
    process.off('exit', restore)
  }
  const end = (signal: NodeJS.Signals): void => {
    forget()
    restore()
    // With the listeners gone the signal has its usual effect.
    process.kill(process.pid, signal)
  }
  for (const signal of ENDING) process.on(signal, end)
  process.on('exit', restore)
  return forget
}
