import { availableParallelism } from 'node:os'
import { omitUndefined, UsageError } from '../../base/index.ts'
import type { MountOptions, UpperOptions, VerifyMode } from '../../daemon/request.ts'
import type { DriverName } from '../../drivers/index.ts'
import type { MountFlag } from '../../sys/mounts/mount.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import { effectiveGid, effectiveUid } from '../../sys/plain/rights.ts'
import { type IdOptions, idRule, MAX_ID, parseIdRanges } from './id-mapping.ts'
import { isIgnoredOption } from './ignored-options.ts'

/** The typed options, and what `-o` says of things that also have an option of their own. */
export interface ParsedMountOptions {
  readonly options: MountOptions
  readonly verify?: VerifyMode
  readonly debug: boolean
}

export type Mutable<T> = { -readonly [K in keyof T]: T[K] }

type Draft = Mutable<Omit<MountOptions, 'upper' | 'flags'>> & { readonly upper: Mutable<UpperOptions> }

interface State {
  readonly draft: Draft
  verify: VerifyMode | undefined
  debug: boolean
  readonly flags: Set<MountFlag>
  suid: boolean
  dev: boolean
  readonly uid: IdOptions
  readonly gid: IdOptions
  squashToRoot: boolean
}

const DEFAULT_CACHE_BYTES = 64 * 2 ** 20
const MIN_CACHE_BYTES = 2 ** 20
const MAX_CACHE_BYTES = 64 * 2 ** 30
const MAX_THREADS = 64
/** FUSE_MAX_MAX_PAGES pages of 4 KiB, and one page, which the kernel takes at least. */
const MAX_READ_LIMIT = 2 ** 20
const MIN_READ_LIMIT = 4096

type Flag = (state: State) => unknown
type Setter = (state: State, value: string, name: string) => void

function add(flag: MountFlag): Flag {
  return ({ flags }) => flags.add(flag)
}

function remove(flag: MountFlag): Flag {
  return ({ flags }) => flags.delete(flag)
}

/** The last one counts. */
function chooseAtime(chosen: MountFlag | undefined): Flag {
  return ({ flags }) => {
    for (const flag of ['noatime', 'relatime', 'strictatime'] as const) flags.delete(flag)
    if (chosen !== undefined) flags.add(chosen)
  }
}

const FLAGS: Readonly<Record<string, Flag>> = {
  ro: ({ draft }) => {
    draft.readOnly = true
  },
  // mount(8) passes it whenever nothing else is said, so alone it does not ask for a place for changes.
  rw: ({ draft }) => {
    draft.readOnly = false
  },
  volatile: ({ draft }) => {
    draft.upper.fsync = 'volatile'
  },
  writeback: ({ draft }) => {
    draft.upper.writeback = true
  },
  allow_other: ({ draft }) => setTrue(draft, 'allowOther'),
  noallow_other: ({ draft }) => setFalse(draft, 'allowOther'),
  allow_root: () => {
    throw new UsageError("option 'allow_root' does not exist in the kernel: use allow_other")
  },
  default_permissions: ({ draft }) => setTrue(draft, 'defaultPermissions'),
  nosuid: (state) => {
    state.suid = false
  },
  suid: (state) => {
    state.suid = true
  },
  nodev: (state) => {
    state.dev = false
  },
  dev: (state) => {
    state.dev = true
  },
  noexec: ({ draft }) => setTrue(draft, 'noexec'),
  exec: ({ draft }) => setFalse(draft, 'noexec'),
  sync: add('sync'),
  async: remove('sync'),
  dirsync: add('dirsync'),
  nosymfollow: add('nosymfollow'),
  symfollow: remove('nosymfollow'),
  // The file system writes no times of access: these decide what mount tables and statvfs(3) show.
  atime: chooseAtime(undefined),
  noatime: chooseAtime('noatime'),
  relatime: chooseAtime('relatime'),
  norelatime: chooseAtime(undefined),
  strictatime: chooseAtime('strictatime'),
  nostrictatime: chooseAtime(undefined),
  nodiratime: add('nodiratime'),
  diratime: remove('nodiratime'),
  lazytime: add('lazytime'),
  nolazytime: remove('lazytime'),
  ino32_t: ({ draft }) => {
    draft.ino32 = true
  },
  debug: (state) => {
    state.debug = true
  },
  squash_to_root: (state) => {
    state.squashToRoot = true
  },
}

const SETTERS: Readonly<Record<string, Setter>> = {
  uid: ({ uid }, value, name) => setId(uid, value, name, effectiveUid()),
  gid: ({ gid }, value, name) => setId(gid, value, name, effectiveGid()),
  squash_to_uid: ({ uid }, value, name) => setId(uid, value, name, effectiveUid()),
  squash_to_gid: ({ gid }, value, name) => setId(gid, value, name, effectiveGid()),
  uidmapping: ({ uid }, value, name) => {
    uid.ranges = parseIdRanges(name, value)
  },
  gidmapping: ({ gid }, value, name) => {
    gid.ranges = parseIdRanges(name, value)
  },
  offset: ({ draft }, value, name) => {
    draft.offset = parseOffset(value, name)
  },
  subdir: ({ draft }, value) => {
    draft.subdir = value
  },
  driver: ({ draft }, value) => {
    draft.driver = parseDriver(value)
  },
  cache_size: ({ draft }, value, name) => {
    draft.cacheSize = parseSize(name, value, MIN_CACHE_BYTES, MAX_CACHE_BYTES)
  },
  threads: ({ draft }, value, name) => {
    draft.threads = parseInteger(name, value, 0, MAX_THREADS)
  },
  max_read: ({ draft }, value, name) => {
    draft.maxRead = parseSize(name, value, MIN_READ_LIMIT, MAX_READ_LIMIT)
  },
  fsname: ({ draft }, value) => {
    draft.fsname = value
  },
  context: ({ draft }, value, name) => {
    if (value.includes('"')) throw new UsageError(`option ${name}: a label holds no quotation marks`)
    draft.context = value
  },
  notify_pipe: ({ draft }, value) => {
    draft.notifyPipe = value
  },
  fsync: ({ draft }, value, name) => {
    draft.upper.fsync = oneOf(name, value, ['auto', 'strict', 'volatile'])
  },
  writeback: ({ draft }, value, name) => {
    draft.upper.writeback = ['1', 'on'].includes(oneOf(name, value, ['0', '1', 'on', 'off']))
  },
  copyup: ({ draft }, value, name) => {
    draft.upper.copyUpAtOpen = oneOf(name, value, ['open', 'change']) === 'open'
  },
  redirect_dir: ({ draft }, value, name) => {
    const wished = oneOf(name, value, ['on', 'follow', 'nofollow', 'off'])
    draft.upper.redirectDir = wished === 'on'
    draft.followRedirects = ['on', 'follow'].includes(wished)
  },
  xattr_permissions: ({ draft }, value, name) => {
    const wished = oneOf(name, value, ['0', '1', '2', 'auto'])
    if (wished === 'auto') delete draft.upper.owners
    else draft.upper.owners = OWNERS[wished]
  },
  xattr: ({ draft }, value, name) => {
    draft.upper.markers = oneOf(name, value, ['user', 'trusted'])
  },
  verify: (state, value) => {
    state.verify = parseVerifyMode(value)
  },
}

const OWNERS = { '0': 0, '1': 1, '2': 2 } as const

/**
 * Parses the values of all `-o`, in their order; the last word counts.
 * @throws UsageError naming the option
 */
export function parseMountOptions(lists: readonly string[]): ParsedMountOptions {
  const state: State = {
    draft: {
      // Root mounts for others; the permission bits still hold, because the kernel checks them.
      allowOther: effectiveUid() === 0,
      defaultPermissions: true,
      nosuid: true,
      nodev: true,
      noexec: false,
      driver: 'builtin',
      cacheSize: DEFAULT_CACHE_BYTES,
      threads: Math.min(availableParallelism(), MAX_THREADS),
      readOnly: false,
      upper: { fsync: 'auto', volatileSign: true, redirectDir: true, writeback: true, copyUpAtOpen: false },
    },
    verify: undefined,
    debug: false,
    flags: new Set(),
    suid: false,
    dev: false,
    uid: {},
    gid: {},
    squashToRoot: false,
  }
  for (const option of lists.flatMap(splitOptions)) applyOption(state, option)
  // mount.fuse3 adds dev and suid for everybody, so from others than root of the machine they are no error.
  if (isHostRoot()) {
    state.draft.nosuid = !state.suid
    state.draft.nodev = !state.dev
  }
  const uid = idRule(state.uid, state.squashToRoot)
  const gid = idRule(state.gid, state.squashToRoot)
  if (uid !== undefined) state.draft.uid = uid
  if (gid !== undefined) state.draft.gid = gid
  const options = { ...state.draft, flags: [...state.flags] }
  return { options, debug: state.debug, ...omitUndefined({ verify: state.verify }) }
}

function applyOption(state: State, option: string): void {
  const equals = option.indexOf('=')
  const name = equals < 0 ? option : option.slice(0, equals)
  if (isIgnoredOption(name)) return
  const setter = lookup(SETTERS, name)
  const flag = lookup(FLAGS, name)
  if (setter !== undefined && (equals >= 0 || flag === undefined)) {
    if (equals < 0 || equals === option.length - 1)
      throw new UsageError(`option '${name}' needs a value: ${name}=...`)
    setter(state, option.slice(equals + 1), name)
    return
  }
  if (flag === undefined) {
    const known = [
      ...Object.keys(FLAGS).filter((one) => one !== 'allow_root'),
      ...Object.keys(SETTERS).map((one) => `${one}=`),
    ]
    throw new UsageError(`unknown option '${name}' after -o; known are: ${known.sort().join(', ')}`)
  }
  if (equals >= 0) throw new UsageError(`option '${name}' takes no value`)
  flag(state)
}

function lookup<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

/** Whether `parseMountOptions` knows the name of an option, with or without a value. */
export function isKnownOption(name: string): boolean {
  return isIgnoredOption(name) || lookup(SETTERS, name) !== undefined || lookup(FLAGS, name) !== undefined
}

/** Splits at commas; a backslash takes the next character as it is. Empty words are left out. */
export function splitOptions(list: string): readonly string[] {
  const words = list.match(/(?:\\.|[^,\\]|\\$)+/gs) ?? []
  return words.map((word) => word.replace(/\\(.)/gs, '$1'))
}

/** Where an image begins in its file, bytes with an optional K, M or G. @throws UsageError */
export function parseOffset(value: string, name = '--offset'): number {
  return parseSize(name, value, 0, Number.MAX_SAFE_INTEGER)
}

/** @throws UsageError */
export function parseVerifyMode(value: string): VerifyMode {
  if (value === 'auto' || value === 'lazy' || value === 'eager') return value
  throw new UsageError(`verify is auto, lazy or eager, not '${value}'`)
}

/** @throws UsageError */
function parseDriver(value: string): DriverName {
  if (value === 'builtin' || value === 'fuse-native') return value
  throw new UsageError(`driver is builtin or fuse-native, not '${value}'`)
}

/** @throws UsageError */
function oneOf<T extends string>(name: string, value: string, words: readonly T[]): T {
  const word = words.find((one) => one === value)
  if (word === undefined) throw new UsageError(`option ${name}=${value}: expected ${words.join(', ')}`)
  return word
}

const SUFFIX: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** Bytes, with an optional suffix K, M or G (powers of 1024). */
function parseSize(name: string, value: string, min: number, max: number): number {
  const match = /^(\d+)([KMG]?)$/i.exec(value)
  const unit = SUFFIX[(match?.[2] ?? '').toUpperCase()]
  const size = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit
  return checkRange(name, value, size, min, max)
}

function parseInteger(name: string, value: string, min: number, max: number): number {
  return checkRange(name, value, /^\d+$/.test(value) ? Number(value) : Number.NaN, min, max)
}

function checkRange(name: string, text: string, value: number, min: number, max: number): number {
  if (!(value >= min && value <= max)) {
    throw new UsageError(`option ${name}=${text}: expected a whole number from ${min} to ${max}`)
  }
  return value
}

/** @param own what `me` stands for */
function setId(ids: IdOptions, value: string, name: string, own: number): void {
  ids.fixed = value === 'me' ? own : parseInteger(name, value, 0, MAX_ID)
}

type BooleanOption = 'allowOther' | 'defaultPermissions' | 'noexec'

function setTrue(draft: Draft, name: BooleanOption): void {
  draft[name] = true
}

function setFalse(draft: Draft, name: BooleanOption): void {
  draft[name] = false
}
