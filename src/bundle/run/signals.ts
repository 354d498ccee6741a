import { isatty } from 'node:tty'

/** Signals that a program outside sends to a container. */
const SENT = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGCONT'] as const
/** Those that a terminal sends to all programs in its foreground, the runtime included. */
const TYPED = ['SIGINT', 'SIGQUIT', 'SIGTSTP', 'SIGWINCH'] as const

/**
 * Hands signals on.
 * @param ownTerminal the container has a terminal of its own: ours is raw then, and keys send no signals
 * @param send gets each signal
 * @returns ends it
 */
export function handSignalsOn(ownTerminal: boolean, send: (signal: NodeJS.Signals) => void): () => void {
  const handled: [NodeJS.Signals, () => void][] = []
  const comeTwice = !ownTerminal && isatty(0)
  for (const signal of [...SENT, ...TYPED]) {
    const isTyped = (TYPED as readonly string[]).includes(signal)
    // The runtime stops with us, and goes on with us.
    if (isTyped && comeTwice && signal === 'SIGTSTP') continue
    const handle = (): void => {
      if (!(isTyped && comeTwice)) send(signal)
    }
    handled.push([signal, handle])
    process.on(signal, handle)
  }
  return () => {
    for (const [signal, handle] of handled) process.off(signal, handle)
  }
}
