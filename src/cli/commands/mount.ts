import { type LogLevel, omitUndefined, UsageError } from '../../base/index.ts'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import { isJournal } from '../../daemon/life/log.ts'
import type { ChangesPlace, MountRequest } from '../../daemon/request.ts'
import { absolutePath, anchoredPath } from '../../sys/files/working-directory.ts'
import { parseMountOptions, parseOffset, parseVerifyMode } from '../options/mount-options.ts'
import { parseRootHash } from '../options/root-hash.ts'
import { formatWarnings } from '../print/format.ts'
import { remount, remountWords } from './remount.ts'

/** What commander makes of the options of `mount`. */
export interface MountFlags {
  readonly persist?: string
  readonly upper?: string
  readonly writeable?: boolean
  readonly writable?: boolean
  readonly allowMissingVerity?: boolean
  readonly metadir?: string
  readonly rootHash?: string
  readonly offset?: string
  readonly verify?: string
  readonly foreground?: boolean
  readonly debug?: boolean
  readonly log?: string
  readonly logLevel?: string
  readonly readyFd?: string
  readonly driverPath?: string
  readonly o?: readonly string[]
}

/**
 * The request for one mount. Paths become absolute without being resolved: `a/link/..` is left to the kernel.
 * @throws UsageError for options that make no sense, in one clear line
 */
export function buildMountRequest(source: string, target: string, flags: MountFlags): MountRequest {
  if (source === '') throw new UsageError('the source is empty: give OCIDIR:TAG or a squashfs file')
  if (target === '') throw new UsageError('the target is empty: give the directory to mount on')
  const {
    options,
    verify,
    debug: debugs,
  } = parseMountOptions([...offsetOption(flags.offset), ...(flags.o ?? [])])
  const { notifyPipe } = options
  const debug = flags.debug === true || debugs
  const changes = changesPlace(flags, options.readOnly)
  if (changes !== undefined && options.driver === 'fuse-native') {
    throw new UsageError('driver=fuse-native is for read-only mounts: leave it out for a writable one')
  }
  return {
    source,
    target: anchoredPath(target),
    allowMissingVerity: flags.allowMissingVerity ?? false,
    ...(flags.rootHash === undefined ? {} : { rootHash: parseRootHash(flags.rootHash) }),
    verify: flags.verify === undefined ? (verify ?? 'auto') : parseVerifyMode(flags.verify),
    ...(flags.metadir === undefined ? {} : { metadataDir: absolutePath(flags.metadir) }),
    foreground: flags.foreground ?? false,
    debug,
    ...parseLogFlags({ ...flags, debug }),
    ...(flags.readyFd === undefined ? {} : { readyFd: parseReadyFd(flags.readyFd) }),
    ...(flags.driverPath === undefined ? {} : { driverPath: flags.driverPath.split(':').map(anchoredPath) }),
    ...omitUndefined({ changes }),
    options: notifyPipe === undefined ? options : { ...options, notifyPipe: absolutePath(notifyPipe) },
  }
}

/** `--offset` says the same as `-o offset=`. */
function offsetOption(offset: string | undefined): readonly string[] {
  return offset === undefined ? [] : [`offset=${parseOffset(offset)}`]
}

/** @throws UsageError where the options name two places, or none */
function changesPlace(flags: MountFlags, readOnly: boolean): ChangesPlace | undefined {
  const { persist, upper } = flags
  if (persist !== undefined && upper !== undefined) {
    throw new UsageError('--persist and --upper both say where changes go: give one of them')
  }
  for (const [name, folder] of Object.entries({ persist, upper })) {
    if (folder === '') throw new UsageError(`--${name}: the name of the directory is empty`)
  }
  if (persist !== undefined) return { kind: 'persist', folder: anchoredPath(persist) }
  if (upper !== undefined) return { kind: 'upper', upper: anchoredPath(upper) }
  // What is thrown away and cannot be changed is nothing.
  return (flags.writeable || flags.writable) && !readOnly ? { kind: 'temporary' } : undefined
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
  return await serve(buildMountRequest(source, target, flags), early)
}

/** Serves a request here or in the background. @returns the exit code */
export async function serve(request: MountRequest, early?: DaemonProcess): Promise<number> {
  if (request.foreground) {
    const [{ exitNow }, { runInForeground }] = await Promise.all([
      import('../../sys/process/exit.ts'),
      import('../../daemon/life/foreground.ts'),
    ])
    return exitNow(await runInForeground(request))
  }
  const { startDaemon } = await import('../../daemon/client/start-daemon.ts')
  const warnings = await startDaemon(request, early)
  process.stderr.write(formatWarnings(warnings))
  return 0
}

export function parseLogFlags(
  flags: Pick<MountFlags, 'foreground' | 'debug' | 'log' | 'logLevel'>,
): Pick<MountRequest, 'log' | 'logLevel'> {
  const foreground = flags.foreground ?? false
  const logLevel =
    flags.logLevel === undefined ? (foreground ? 'warn' : 'info') : parseLogLevel(flags.logLevel)
  // A service whose stderr is the journal logs there, also from the background, where there is no stderr.
  const log = flags.log ?? (!foreground && isJournal(2) ? 'syslog' : undefined)
  return {
    logLevel: flags.debug === true ? 'debug' : logLevel,
    ...(log === undefined ? {} : { log: log === 'syslog' ? log : absolutePath(log) }),
  }
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
