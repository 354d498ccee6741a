import type { PathText } from '../../base/index.ts'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import type { ForegroundOptions } from '../../daemon/life/foreground.ts'
import { announce } from '../../daemon/mount/readiness.ts'
import { parseSource } from '../../molecule/source.ts'
import { buildMountRequest, type MountRequest } from '../../request/index.ts'
import { unlock } from '../keys/unlock.ts'
import { formatWarnings } from '../print/format.ts'
import type { KeyFlags } from '../words/key-flags.ts'
import { type MountFlags, mountWish } from '../words/mount-wish.ts'
import { withMountWords } from '../words/mount-words.ts'
import { remount, remountWords } from './remount.ts'

/**
 * The request for one mount.
 * @throws UsageError for options that make no sense; FsError where there is no such source, after the FIFO of
 *   `notify_pipe` was told
 */
export async function mountRequest(
  source: PathText,
  target: PathText,
  flags: MountFlags,
): Promise<MountRequest> {
  const wish = mountWish(target, flags)
  try {
    return buildMountRequest({ ...wish, source: parseSource(source), name: source })
  } catch (error) {
    await announce(wish.parsed.options, false, () => undefined)
    throw error
  }
}

/** Runs `mount`. @returns the exit code, when the mount serves or, in the foreground, when it has ended */
export async function mount(
  source: string,
  target: string,
  flags: MountFlags,
  early?: DaemonProcess,
): Promise<number> {
  const changes = remountWords(flags.o)
  if (changes !== undefined) return await remount(target, changes, flags.metadir)
  const request = await mountRequest(source, target, flags)
  const { indexes } = flags
  const complete = indexes === undefined ? request : { ...request, indexes }
  return await serve(complete, early, {}, withMountWords(flags))
}

/**
 * Serves a request here or in the background.
 * @param keys how the key of an encrypted image is found
 * @returns the exit code
 */
export async function serve(
  request: MountRequest,
  early?: DaemonProcess,
  options: ForegroundOptions = {},
  keys: KeyFlags = {},
): Promise<number> {
  try {
    await unlock([request], keys)
  } catch (error) {
    await announce(request.options, false, () => undefined)
    throw error
  }
  if (request.foreground) {
    const [{ exitNow }, { runInForeground }] = await Promise.all([
      import('../../sys/process/exit.ts'),
      import('../../daemon/life/foreground.ts'),
    ])
    return exitNow(await runInForeground(request, options))
  }
  const { startDaemon } = await import('../../daemon/client/start-daemon.ts')
  const warnings = await startDaemon(request, early)
  process.stderr.write(formatWarnings(warnings))
  return 0
}
