import { parentPort } from 'node:worker_threads'
import { omitUndefined, Turn } from '../../../base/index.ts'
import { GatherReply, MountTable, PooledFetcher, taskRunner, WorkerPool } from '../../../fuse/index.ts'
import { type AskForBlob, ImageSet, Patience, refusePackages } from '../../../molecule/index.ts'
import { ringBell } from '../../../sys/process/bell.ts'
import { faultText } from '../fault-text.ts'
import { SPINS } from '../serving.ts'
import { dropThreadPrivileges } from '../thread-privileges.ts'
import { upkeep } from '../upkeep.ts'
import { FirstMount } from './first-mount.ts'
import type { ServerDispatcherData, ServerMessage } from './messages.ts'
import { News } from './news.ts'
import { ServedMounts } from './served-mounts.ts'
import { workerLog } from './worker-images.ts'

/**
 * The dispatcher of a server of several mounts. It owns the state of all of their file systems and is the only reader of
 * their devices.
 */

function tell(message: ServerMessage): void {
  parentPort?.postMessage(message)
}

/** Serves mounts until the main thread orders the end. Never throws. */
export function serveMounts(data: ServerDispatcherData): void {
  try {
    serve(data)
  } catch (error) {
    tell({ type: 'failed', message: faultText(error) })
  }
}

function serve({
  shared,
  mounts: table,
  news,
  images: present,
  bell,
  cacheSize,
  pressure,
  poll,
  request,
}: ServerDispatcherData): void {
  const log = workerLog(tell)
  // Workers come when there are mounts already. A mount whose decoder is a package has a server of its own.
  refusePackages()
  const pool = new WorkerPool(shared, () => tell({ type: 'worker wanted' }), cacheSize)
  const turn = new Turn()
  const fetcher: PooledFetcher = new PooledFetcher(pool, (image) => images.sizeOf(image))
  const askForBlob: AskForBlob = (image, blob, wish) => tell({ type: 'blob', image, blob, wish })
  const images: ImageSet = new ImageSet({
    thread: 0,
    tell: (level, message, image) => tell({ type: 'log', level, message, image }),
    askForBlob,
    patience: new Patience(turn, fetcher),
  })
  for (const image of present) images.add(image)
  dropThreadPrivileges(log)
  const target = new GatherReply(-1, shared)
  const counts = new MountTable(table)
  const runTask = taskRunner({
    ...{ shared, thread: 0, target, store: images.store, log, bell },
    askers: {
      begin: ({ device }) => target.aim(device),
      end: ({ mount }, isGood) => {
        if (counts.end(mount, isGood)) ringBell(bell)
      },
    },
  })
  const start = new FirstMount(
    new Int32Array(news),
    (mount) => mounts.has(mount),
    () => tell({ type: 'prepared' }),
  )
  const mounts: ServedMounts = new ServedMounts({
    ...{ pool, fetcher, images, turn, table, request, tell, news: new News(news) },
    onMount: (order) => start.takesPlaceIn(order),
    loop: {
      spins: SPINS,
      bell,
      poll,
      ...omitUndefined({ pressure }),
      idleWork: () => start.step(),
      ...upkeep({
        pool,
        runTask,
        log,
        forgetMetadata: () => images.giveBack(),
        tellQuiet: () => tell({ type: 'quiet' }),
      }),
    },
  })
  mounts.run()
}
