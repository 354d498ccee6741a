import { readFileSync } from 'node:fs'
import { procPath } from '../../sys/plain/proc.ts'
import {
  findNamespaceHolder,
  isLastingMountNamespace,
  livesHere,
} from '../../sys/process/namespace-members.ts'

/** A look at one process costs some 10 µs; the end of a daemon is due within half a second. */
const INTERVAL_MS = 200
/** A look at all processes and their descriptors costs milliseconds. */
const HELD_INTERVAL_MS = 5000

/** What daemons are called: `process.title`, as `/proc/PID/comm` has it. They do not keep each other alive. */
export const TITLE = 'atomfs-fuse'

/**
 * Resolves when only daemons of this program are left in this mount namespace. A process keeps its namespace with all
 * mounts alive, so without this a mount made in a container would stay after the end of the container, and could not be
 * reached. Never resolves in the namespace of the machine. Does not keep the process alive.
 */
export function namespaceEnd(): Promise<void> {
  return new Promise((resolve) => {
    if (isLastingMountNamespace()) return
    let watched: number | undefined
    const look = (): void => {
      let interval = INTERVAL_MS
      if (watched === undefined || !livesHere(watched)) {
        const holder = findNamespaceHolder((pid) => !isDaemon(pid) && !isOwnChild(pid))
        if (holder.kind === 'none') {
          resolve()
          return
        }
        watched = holder.kind === 'pid' ? holder.pid : undefined
        if (holder.kind === 'held') interval = HELD_INTERVAL_MS
      }
      setTimeout(look, interval).unref()
    }
    setTimeout(look, INTERVAL_MS).unref()
  })
}

function isDaemon(pid: number): boolean {
  try {
    return readFileSync(procPath(`${pid}/comm`), 'latin1').startsWith(`${TITLE} `)
  } catch {
    return true
  }
}

/** What this process has started, such as fuse2fs, ends with it. */
function isOwnChild(pid: number): boolean {
  try {
    const text = readFileSync(procPath(`${pid}/stat`), 'latin1')
    // State and parent follow the name, which may hold blanks and parentheses (proc_pid_stat(5)).
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]) === process.pid
  } catch {
    return true
  }
}
