import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, type Log, type PathText } from '../../base/index.ts'
import { sweepPlaces } from './place.ts'

/** What a killed process has left in memory of fuse2fs goes to the disk first. */
const RELEASE_TIMEOUT_MS = 60_000
const RELEASE_INTERVAL_MS = 50

/**
 * Opens an ext3 file system for writing, after what killed processes have left was removed: their fuse2fs may still have it.
 * @throws FsError as `open`; EBUSY where somebody else has it
 */
export async function whenFree<T>(metadataDir: PathText | undefined, log: Log, open: () => T): Promise<T> {
  const isLetGo = await sweepPlaces(metadataDir, log)
  const deadline = performance.now() + (isLetGo ? RELEASE_TIMEOUT_MS : 0)
  for (;;) {
    try {
      return open()
    } catch (error) {
      if (!isErrno(error, 'EBUSY') || performance.now() >= deadline) throw error
    }
    await sleep(RELEASE_INTERVAL_MS)
  }
}
