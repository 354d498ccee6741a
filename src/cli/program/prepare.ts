import { FsError, type PathText } from '../../base/index.ts'
import { mayHoldArchives, parseSource } from '../../molecule/source.ts'
import { interruptible } from '../print/interruption.ts'
import { type Progress, startProgress } from '../print/progress.ts'

/** What `prepare` has done. */
export interface Prepared {
  /** 0, or the exit code after a signal. */
  readonly code: number
  /** Indexes that no folder could take, for the process that serves (`MountRequest.indexes`). */
  readonly indexes?: Readonly<Record<string, PathText>>
}

/**
 * Makes what the layers of a source need to be read, with a progress bar for each, before a command reads it.
 * @throws FsError as `prepareSource`
 */
export async function prepare(text: PathText, quiet: boolean): Promise<Prepared> {
  const source = sourceOf(text)
  if (source === undefined) return { code: 0 }
  const { heldIndexes, prepareSource } = await import('../../molecule/index.ts')
  const code = await interruptible(async (signal) => {
    let progress: Progress | undefined
    let bytes = 0
    try {
      const begun: Promise<void>[] = []
      await prepareSource(source, {
        signal,
        convert: async (...words) => {
          const { convertStoredLayer } = await import('../../make/index.ts')
          return await convertStoredLayer(...words)
        },
        onLayer: (position, count, total, how) => {
          progress?.stop()
          progress = undefined
          bytes = total
          const bar = startProgress(`${how} layer ${position} of ${count}`, quiet)
          begun.push(
            bar.then((one) => {
              progress = one
            }),
          )
        },
        onProgress: (done) => progress?.update(done, bytes),
      })
      await Promise.all(begun)
    } finally {
      progress?.stop()
    }
    return 0
  }, 'what was made of layers stays in the store')
  const indexes = heldIndexes()
  return Object.keys(indexes).length === 0 ? { code } : { code, indexes }
}

/** What is no source, the command itself explains. */
function sourceOf(text: PathText): ReturnType<typeof parseSource> | undefined {
  try {
    const source = parseSource(text)
    return mayHoldArchives(source) ? source : undefined
  } catch (error) {
    if (error instanceof FsError) return undefined
    throw error
  }
}
