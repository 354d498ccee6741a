import { closeSync } from 'node:fs'
import { type Log, messageOf } from '../../base/index.ts'
import type { RunningServer } from '../../drivers/index.ts'
import type { OpenUpper } from '../../molecule/index.ts'
import type { FuseMount } from '../../sys/mounts/mount.ts'
import { withTimeout } from '../../sys/plain/promises.ts'
import { type OwnEntry, removeOwnEntry } from '../runtime/entries.ts'
import type { ControlServer } from '../serve/control-server.ts'
import { detach } from './detach.ts'
import type { ServingProcess, UpperEnd } from './serving-process.ts'

/** Threads that do not end, or have not even started, do not hold up the end of the process. */
const STOP_TIMEOUT_MS = 100

/** What exists of a mount at some moment, and so has to be undone. */
export interface Progress {
  entry: OwnEntry | undefined
  mount: FuseMount | undefined
  server: RunningServer | undefined
  control: ControlServer | undefined
  upper: OpenUpper | undefined
}

/** Undoes what there is, last first. @param upperEnd how the changes end that are still open. Never throws. */
export async function tearDown(
  progress: Progress,
  upperEnd: Exclude<UpperEnd, 'complete'>,
  process: ServingProcess,
  log: Log,
): Promise<void> {
  progress.control?.close()
  await detach(progress.mount, log)
  if (progress.server !== undefined) {
    try {
      await withTimeout(progress.server.stop(), STOP_TIMEOUT_MS, 'server threads did not end')
    } catch (error) {
      log('debug', messageOf(error))
    }
  } else if (progress.mount !== undefined) {
    closeSync(progress.mount.fuseFd)
  }
  if (progress.upper !== undefined) process.closeUpper(progress.upper, upperEnd, progress.mount)
  await process.close()
  if (progress.entry !== undefined) removeOwnEntry(progress.entry)
}
