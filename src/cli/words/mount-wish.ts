import { type LogLevel, type PathText, UsageError } from '../../base/index.ts'
import {
  type CommonWish,
  type MountWish,
  parseMountOptions,
  parseOffset,
  parseVerifyMode,
} from '../../request/index.ts'
import type { KeyFlags } from './key-flags.ts'
import { withMountWords } from './mount-words.ts'

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
export interface MountFlags extends CommonFlags, KeyFlags {
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
  /** Not from the command line: `MountRequest.indexes`. */
  readonly indexes?: Readonly<Record<string, PathText>>
}

/** What the options of `mount` ask for, without the source. @throws UsageError */
export function mountWish(target: PathText, given: MountFlags): Omit<MountWish, 'source' | 'name'> {
  const flags = withMountWords(given)
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
