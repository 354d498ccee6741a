import type { Log } from '../../base/index.ts'
import type { OwnEntry } from '../runtime/entries.ts'

/** What surrounds the daemon: a parent behind a pipe, or a terminal. */
export interface DaemonHost {
  readonly log: Log
  /** Prints at every log level: the user asked for it. */
  readonly report: (message: string) => void
  /** Calls the listener whenever a user asks for a report (SIGUSR1). */
  onReportRequest(listener: () => void): void
  /** Resolves when no other process is left in the mount namespace. */
  namespaceEnd(): Promise<void>
  /** The caller waits for the end of this process, and kills it when that takes long. */
  readonly isAwaited: boolean
  /** Where this process fails, another one tries the same, and tells of it. */
  readonly hasSuccessor: boolean
  /** The runtime entry exists: logs may go there. */
  entryCreated(entry: OwnEntry): void
  /** The mount exists, and does not serve yet. */
  mounted(): void
  /** The mount serves. Throws if the caller has stopped waiting: then the mount is undone. */
  ready(warnings: readonly string[]): void
  /** Resolves when the daemon is asked to end. */
  readonly stopRequested: Promise<string>
  /** Resolves when it is asked again, and impatiently. */
  readonly stopAgain: Promise<string>
  /** Rejects with a fault that no code caught. */
  readonly fault: Promise<never>
}
