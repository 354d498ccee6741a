import type { Log } from '../../base/index.ts'
import type { DeviceLoopOptions, taskRunner, WorkerPool } from '../../fuse/index.ts'
import { trimHeap } from '../../sys/ffi/memory.ts'
import { collectGarbage, packHeap } from '../../sys/process/garbage.ts'

/** What a dispatcher does for its cache and its workers while there are no requests. */
export interface UpkeepOptions {
  readonly pool: WorkerPool
  readonly runTask: ReturnType<typeof taskRunner>
  readonly log: Log
  /** Forgets what layers can decode again. */
  forgetMetadata(): void
  /** Tells the main thread that the mount is quiet. */
  tellQuiet(): void
}

/** Work of a dispatcher that waits: it takes the place of workers that cannot come, and gives memory back. */
export function upkeep(
  options: UpkeepOptions,
): Required<Pick<DeviceLoopOptions, 'helper' | 'quietWork' | 'pressureWork'>> {
  const { pool, runTask, log, forgetMetadata, tellQuiet } = options
  const givesBack = (): void => {
    pool.giveBack()
    forgetMetadata()
    packHeap()
    tellQuiet()
  }
  return {
    helper() {
      if (!pool.staff.isRefused) return
      for (let task = pool.queue.takeNow(); task !== undefined; task = pool.queue.takeNow()) runTask(task)
    },
    quietWork: givesBack,
    pressureWork() {
      log('debug', 'memory is short: the cache is given back')
      pool.staff.dismiss()
      givesBack()
    },
  }
}

/** For the main thread, when its mounts are quiet: what it does not need any more goes back to the system. */
export function shrinkHeap(): void {
  packHeap()
  trimHeap()
}

/** For the main thread, when the start is over: much of what it needed for that. */
export function shedStart(): void {
  collectGarbage()
  trimHeap()
}
