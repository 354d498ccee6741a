import { type Log, stackOf } from '../../base/index.ts'
import { deferred } from '../../sys/plain/promises.ts'
import { ignoreRealTimeSignals } from '../../sys/process/session.ts'
import type { DaemonHost } from '../mount/daemon-host.ts'

/**
 * Signals that would end the process without a word, and leave a dead mount. Not among them are those of faults in the
 * code itself (SIGSEGV, SIGBUS, SIGFPE, SIGILL), which happen again when a handler returns.
 */
const ENDING = [
  'SIGTERM',
  'SIGQUIT',
  'SIGTRAP',
  'SIGABRT',
  'SIGUSR2',
  'SIGALRM',
  'SIGSTKFLT',
  'SIGXCPU',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGPWR',
  'SIGSYS',
] as const

/**
 * The signals and uncaught faults of this process as promises.
 * @param foreground a terminal's SIGINT and SIGHUP end it; a daemon has no terminal and ignores them
 */
export function processEvents(
  foreground: boolean,
  log: Log,
): Pick<DaemonHost, 'stopRequested' | 'stopAgain' | 'fault' | 'onReportRequest'> {
  const first = deferred<string>()
  const second = deferred<string>()
  const fault = deferred<never>()
  // Waited for in some phases only: a fault outside of them must not become a second one.
  fault.promise.catch(() => undefined)
  let stops = 0
  const stop = (signal: string): void => {
    stops++
    log('info', `received ${signal}`)
    if (stops === 1) first.resolve(`received ${signal}`)
    else second.resolve(`received ${signal} again`)
  }
  for (const signal of ENDING) process.on(signal, stop)
  process.on('SIGINT', foreground ? stop : () => undefined)
  process.on('SIGHUP', foreground ? stop : () => undefined)
  // A write past RLIMIT_FSIZE, which the daemon inherited from the caller, is an error of that write.
  process.on('SIGXFSZ', () => undefined)
  ignoreRealTimeSignals()
  // Node starts its debugger on SIGUSR1 unless the process has a handler for it.
  let report = (): void => undefined
  process.on('SIGUSR1', () => report())
  process.on('uncaughtException', (error) => {
    log('error', `uncaught: ${error.stack ?? error.message}`)
    fault.reject(error)
  })
  process.on('unhandledRejection', (reason) => {
    log('error', `unhandled rejection: ${stackOf(reason)}`)
    fault.reject(reason)
  })
  return {
    stopRequested: first.promise,
    stopAgain: second.promise,
    fault: fault.promise,
    onReportRequest: (listener) => {
      report = listener
    },
  }
}
