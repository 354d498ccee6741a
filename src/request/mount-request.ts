import { type LogLevel, type NamedSource, type PathText, UsageError } from '../base/index.ts'
import type { ChangesPlace, VerifyMode } from '../molecule/index.ts'
import { parseSource, withOffset, withParts } from '../molecule/source.ts'
import { absolutePath, anchoredPath } from '../sys/files/working-directory.ts'
import { isJournal } from '../sys/process/journal.ts'
import type { ParsedMountOptions } from './mount-options.ts'
import type { MountRequest } from './request.ts'
import { parseRootHash } from './root-hash.ts'

/** What a caller wishes of any mount; what is absent has its default. Paths may be relative to the working directory. */
export interface CommonWish {
  readonly target: PathText
  readonly metadataDir?: PathText | undefined
  readonly foreground?: boolean | undefined
  readonly debug?: boolean | undefined
  /** A file, or `syslog`. */
  readonly log?: PathText | undefined
  readonly logLevel?: LogLevel | undefined
}

/** What a caller wishes of the mount of an image. */
export interface MountWish extends CommonWish {
  readonly source: NamedSource
  /** What the user calls the source. */
  readonly name: PathText
  readonly allowMissingVerity?: boolean | undefined
  /** Hex. */
  readonly rootHash?: string | undefined
  readonly verify?: VerifyMode | undefined
  readonly readyFd?: number | undefined
  readonly driverPath?: readonly PathText[] | undefined
  /** Folder that keeps changes in the layout of atomfs. */
  readonly persist?: PathText | undefined
  /** Directory that keeps changes. */
  readonly upper?: PathText | undefined
  /** The mount can be changed; without a place for changes they go away with it. */
  readonly writable?: boolean | undefined
  /** What was said after `-o`. */
  readonly parsed: ParsedMountOptions
}

/**
 * The request for one mount of an image. Paths become absolute without being resolved: `a/link/..` is left to the
 * kernel.
 * @throws UsageError for options that make no sense, in one clear line
 */
export function buildMountRequest(wish: MountWish): MountRequest {
  const { parsed, rootHash, driverPath } = wish
  const changes = changesPlace(wish)
  if (changes !== undefined && parsed.options.driver === 'fuse-native') {
    throw new UsageError('driver=fuse-native is for read-only mounts: leave it out for a writable one')
  }
  const { driver, idleTimeout } = parsed.options
  if (idleTimeout !== undefined && (changes !== undefined || driver !== 'builtin')) {
    throw new UsageError('timeout= is for read-only mounts with driver=builtin')
  }
  return {
    source: withOffset(withParts(wish.source, parsed.parts), parsed.offset),
    name: wish.name,
    ...commonRequest(wish, parsed),
    allowMissingVerity: wish.allowMissingVerity ?? false,
    rootHash: rootHash === undefined ? undefined : parseRootHash(rootHash),
    verify: wish.verify ?? parsed.verify ?? 'auto',
    readyFd: wish.readyFd,
    driverPath: driverPath?.map(anchoredPath),
    changes,
  }
}

/** The part of a request that is the same for images and directories. @throws UsageError */
export function commonRequest(
  wish: CommonWish,
  { options }: ParsedMountOptions,
): Pick<MountRequest, 'target' | 'metadataDir' | 'foreground' | 'log' | 'logLevel' | 'options'> {
  const { target, metadataDir, foreground = false } = wish
  if (target === '') throw new UsageError('the target is empty: give the directory to mount on')
  const debug = wish.debug === true || options.kernel.debug
  // A service whose stderr is the journal logs there, also from the background, where there is no stderr.
  const log = wish.log ?? (!foreground && isJournal(2) ? 'syslog' : undefined)
  return {
    target: anchoredPath(target),
    metadataDir: metadataDir === undefined ? undefined : absolutePath(metadataDir),
    foreground,
    log: log === undefined || log === 'syslog' ? log : absolutePath(log),
    logLevel: debug ? 'debug' : (wish.logLevel ?? (foreground ? 'warn' : 'info')),
    options: { ...options, kernel: { ...options.kernel, debug } },
  }
}

/** @throws UsageError where two places are named, or one without a name */
function changesPlace({ persist, upper, writable, parsed }: MountWish): ChangesPlace | undefined {
  if (persist !== undefined && upper !== undefined) {
    throw new UsageError('--persist and --upper both say where changes go: give one of them')
  }
  for (const [name, folder] of Object.entries({ persist, upper })) {
    if (folder === '') throw new UsageError(`--${name}: the name of the directory is empty`)
  }
  if (parsed.ext3 !== undefined) {
    if (persist !== undefined) throw new UsageError('ext3= says where changes go: leave --persist out')
    return ext3Changes(upper, parsed.options.showsOnly)
  }
  if (persist !== undefined) return { kind: 'persist', folder: anchoredPath(persist) }
  if (upper !== undefined) return { kind: 'upper', upper: anchoredPath(upper) }
  // With `ro`, a temporary upper directory would stay empty: a plain read-only mount shows the same.
  return writable === true && !parsed.options.showsOnly ? { kind: 'temporary' } : undefined
}

/**
 * Changes that go into an ext3 file system.
 * @param image SOURCE of one; by default the top of what is mounted
 * @returns undefined where nothing is changed: then it is read as every other image
 * @throws UsageError for an image that would only be shown
 */
export function ext3Changes(image: PathText | undefined, showsOnly: boolean): ChangesPlace | undefined {
  if (image === undefined) return showsOnly ? undefined : { kind: 'ext3' }
  if (!showsOnly) return { kind: 'ext3', image: parseSource(image) }
  throw new UsageError(
    `ro, and ${image} for changes: name it among the layers with overlay -o lowerdir=${image}:…`,
  )
}
