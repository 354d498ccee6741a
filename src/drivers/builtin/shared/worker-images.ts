import type { BlockStore, Log } from '../../../base/index.ts'
import { type JobAskers, MountTable } from '../../../fuse/index.ts'
import { type AskForBlob, ImageSet } from '../../../molecule/index.ts'
import { ringBell } from '../../../sys/process/bell.ts'
import type { ServerMessage, ServerThreadData } from './messages.ts'
import { News } from './news.ts'

/** What a data worker of a server has in place of the images of one mount. */
export interface WorkerImages {
  readonly store: BlockStore
  /** Of all jobs that answer READs. */
  askers(aim: (device: number) => void): JobAskers
}

/** @param thread row of the tallies */
export function workerImages(
  { images, news: memory, mounts, bell }: ServerThreadData,
  thread: number,
  askForBlob: AskForBlob,
  tell: (message: ServerMessage) => void,
): WorkerImages {
  const set = new ImageSet({
    thread,
    tell: (level, message, image) => tell({ type: 'log', level, message, image }),
    askForBlob,
  })
  for (const image of images) set.add(image)
  const news = new News(memory)
  // The order that names a block's image was sent before the block was asked for.
  const upToDate = (): BlockStore => {
    for (const order of news.take()) {
      if (order.type === 'image') set.add(order.image)
      else if (order.type === 'drop') set.drop(order.image)
    }
    return set.store
  }
  const table = new MountTable(mounts)
  return {
    store: {
      readBlock: (block, target) => upToDate().readBlock(block, target),
      willNeed: (image, position, length) => upToDate().willNeed?.(image, position, length),
      readRaw: (image, position, target) => upToDate().readRaw?.(image, position, target),
      close: () => set.store.close(),
    },
    askers: (aim) => ({
      begin: ({ device }) => aim(device),
      end: ({ mount }, isGood) => {
        if (table.end(mount, isGood)) ringBell(bell)
      },
    }),
  }
}

/** The log of a worker: what is about an image goes to all mounts that show it. */
export function workerLog(tell: (message: ServerMessage) => void): Log & WorkerLog {
  return (level: Parameters<Log>[0], message: string, image?: number) =>
    tell({ type: 'log', level, message, ...(image === undefined ? {} : { image }) })
}

type WorkerLog = (level: Parameters<Log>[0], message: string, image?: number) => void
