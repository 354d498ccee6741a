import { closeSync, statfsSync } from 'node:fs'
import { type PathText, systemPath } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import { isJournal } from '../../sys/process/journal.ts'
import { identityOf, livenessOf } from '../../sys/process/process.ts'
import { changesFolder } from '../runtime/changes.ts'
import { scrubEnvironment } from './environment.ts'
import { serveInBackground } from './serve-in-background.ts'

/** Standard error of the launcher's caller. That of this process is /dev/null. */
const CALLER_STDERR = 3

/** The launcher looks at the root of the mount. Where that has no answer after so long, the mount is undone. */
const ROOT_TIMEOUT_MS = 10_000

/** By then everything has run that a start runs. */
const SAVE_AFTER_MS = 1000

/** The launcher, which waits for an answer and then looks at the root of the mount. */
export interface Launcher {
  readonly pid: number
  /** Open files of its caller that it could not close. */
  readonly descriptors: readonly number[]
  /** Tells it that the mount serves. Throws where it has gone: then the mount is undone. */
  answer(warnings: readonly string[]): void
}

/**
 * Serves a mount in the process that the launcher started (bin/atomfs-fuse).
 * @returns the exit code
 * @throws FsError what kept it from serving
 */
export async function serveDirectly(request: MountRequest, launcher: Launcher): Promise<number> {
  // The launcher passes on what a daemon gets. What else is there a shell could not remove.
  if (!scrubEnvironment() || isOnFuse(changesFolder(request.changes))) return 1
  // A service whose stderr is the journal logs there.
  const log = request.log ?? (isJournal(CALLER_STDERR) ? 'syslog' : undefined)
  for (const descriptor of [CALLER_STDERR, ...launcher.descriptors]) closeSync(descriptor)
  return await serveInBackground(
    { ...request, log },
    {
      hasSuccessor: true,
      ready: (warnings) => {
        const waiting = identityOf(launcher.pid)
        launcher.answer(warnings)
        setTimeout(saveCompiledCode, SAVE_AFTER_MS).unref()
        setTimeout(() => {
          if (livenessOf(waiting) === 'alive') endAtOnce()
        }, ROOT_TIMEOUT_MS).unref()
      },
    },
  )
}

/** include/uapi/linux/magic.h */
const FUSE_SUPER_MAGIC = 0x6573_5546

/**
 * Whether the folder of the changes lies in a FUSE file system. A mount that fails is tried twice, and there the second
 * try may notice the first: in some, a folder that was removed and made again shows what it held before.
 */
function isOnFuse(folder: PathText): boolean {
  try {
    return folder !== '' && statfsSync(systemPath(folder)).type === FUSE_SUPER_MAGIC
  } catch {
    return false
  }
}

/** The second signal is the impatient one. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGTERM')
  process.kill(process.pid, 'SIGTERM')
}
