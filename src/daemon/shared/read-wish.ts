import { FsError } from '../../base/index.ts'
import { isOverlay } from '../../molecule/index.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import type { Wish } from './protocol.ts'
import type { MountServerOptions, ReadWish } from './server-options.ts'

/** Says what an own server has to do. */
export function refused(why: string): FsError {
  return new FsError('EOPNOTSUPP', `a shared server does not make this mount: ${why}`)
}

/**
 * Reads the words of a client.
 * @param sourceFd what SOURCE leads to; absent for an overlay
 * @throws FsError EOPNOTSUPP for what an own server has to do; UsageError, FsError for words that make no sense
 */
export function readWish(
  { program, words, source, target }: Wish,
  sourceFd: number | undefined,
  { readWish, defaults }: MountServerOptions,
): ReadWish {
  if ((source === undefined) !== (sourceFd === undefined)) {
    throw new FsError('EPROTO', 'no descriptor of the source')
  }
  const read = readWish(program, words, source, sourceFd === undefined ? '' : descriptorPath(sourceFd))
  if (read === undefined || isOverlay(read.request.source) !== (source === undefined)) {
    throw refused('it is no mount in the background')
  }
  const { request, ignored } = read
  const { options } = request
  const own = [
    [request.metadataDir, '--metadir'],
    [request.log, '--log'],
    [request.changes?.kind === 'ext3' || undefined, 'ext3='],
    [options.notifyPipe, 'notify_pipe='],
    [options.cacheSize === defaults.cacheSize ? undefined : options.cacheSize, 'cache_size='],
    [options.workers === defaults.workers ? undefined : options.workers, 'threads='],
  ] as const
  const reason = own.find(([value]) => value !== undefined)?.[1]
  if (reason !== undefined) throw refused(reason)
  return { request: { ...request, target }, ignored }
}
