import { type LogLevel, type PathText, UsageError } from '../../base/index.ts'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import type { ForegroundOptions } from '../../daemon/life/foreground.ts'
import { announce } from '../../daemon/life/readiness.ts'
import { parseSource } from '../../molecule/source.ts'
import {
  buildMountRequest,
  type CommonWish,
  type MountRequest,
  type MountWish,
  parseMountOptions,
  parseOffset,
  parseVerifyMode,
} from '../../request/index.ts'
import { formatWarnings } from '../print/format.ts'
import { withMountWords } from './mount-words.ts'
import { remount, remountWords } from './remount.ts'

/** What commander makes of the options that `mount` and `overlay` have in common. */
export interface CommonFlags {
  readonly metadir?: string
  readonly foreground?: boolean
  readonly debug?: boolean
  readonly log?: string
  readonly logLevel?: string
  readonly o?: readonly string[]
}

/** What commander makes of the options of `mount`. */
export interface MountFlags extends CommonFlags {
  readonly persist?: string
  readonly upper?: string
  readonly writeable?: boolean
  readonly writable?: boolean
  readonly allowMissingVerity?: boolean
  readonly rootHash?: string
  readonly offset?: string
  readonly verify?: string
  readonly readyFd?: string
  readonly driverPath?: string
}

/** What the options ask for, without the source. @throws UsageError */
function wishOf(target: PathText, flags: MountFlags): Omit<MountWish, 'source' | 'name'> {
  const offset = flags.offset === undefined ? [] : [`offset=${parseOffset(flags.offset)}`]
  return {
    ...commonWish(target, flags),
    allowMissingVerity: flags.allowMissingVerity,
    rootHash: flags.rootHash,
    verify: flags.verify === undefined ? undefined : parseVerifyMode(flags.verify),
    readyFd: flags.readyFd === undefined ? undefined : parseReadyFd(flags.readyFd),
    driverPath: flags.driverPath?.split(':'),
    persist: flags.persist,
    upper: flags.upper,
    writable: flags.writeable ?? flags.writable,
    // `--offset` says the same as `-o offset=`.
    parsed: parseMountOptions([...offset, ...(flags.o ?? [])]),
  }
}

/** What `mount` and `overlay` have in common. @throws UsageError */
export function commonWish(target: PathText, flags: CommonFlags): CommonWish {
  return {
    target,
    metadataDir: flags.metadir,
    foreground: flags.foreground,
    debug: flags.debug,
    log: flags.log,
    logLevel: flags.logLevel === undefined ? undefined : parseLogLevel(flags.logLevel),
  }
}

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
  const wish = wishOf(target, withMountWords(flags))
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
  return await serve(await mountRequest(source, target, flags), early)
}

/** Serves a request here or in the background. @returns the exit code */
export async function serve(
  request: MountRequest,
  early?: DaemonProcess,
  options: ForegroundOptions = {},
): Promise<number> {
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

function parseLogLevel(text: string): LogLevel {
  if (text === 'error' || text === 'warn' || text === 'info' || text === 'debug') return text
  throw new UsageError(`--log-level is error, warn, info or debug, not '${text}'`)
}

function parseReadyFd(text: string): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) {
    throw new UsageError(`--ready-fd ${text}: expected the number of an open descriptor`)
  }
  return Number(text)
}
