import { type Mutable, type PartChoice, UsageError } from '../base/index.ts'
import type { VerifyMode } from '../molecule/index.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import type { MountFlag } from '../sys/mounts/mount.ts'
import { effectiveGid, effectiveUid } from '../sys/plain/rights.ts'
import { type IdOptions, MAX_ID, parseIdRanges } from './id-mapping.ts'
import type { MountOptions } from './request.ts'
import { oneOf, parseDriver, parseInteger, parseOffset, parseSize, parseVerifyMode } from './values.ts'

type Draft = Mutable<
  Omit<MountOptions, 'upper' | 'kernel' | 'flags' | 'nosuid' | 'nodev' | 'uid' | 'gid'>
> & {
  readonly upper: Mutable<MountOptions['upper']>
  readonly kernel: Mutable<MountOptions['kernel']>
}

/** What the words so far come to: the last one counts. */
export interface OptionState {
  readonly draft: Draft
  offset?: number
  readonly parts: Mutable<PartChoice>
  followsRedirects: boolean
  verify?: VerifyMode
  ext3?: 'fuse2fs'
  readonly flags: Set<MountFlag>
  /** Absent where no word says so. */
  suid?: boolean
  dev?: boolean
  readonly uid: IdOptions
  readonly gid: IdOptions
  squashToRoot: boolean
}

const MIN_CACHE_BYTES = 2 ** 20
const MAX_CACHE_BYTES = 64 * 2 ** 30
export const MAX_WORKERS = 64
/** Less has no room for the directories that a program makes at its start. */
const MIN_CHANGES_BYTES = 64 * 2 ** 10
const MAX_CHANGES_BYTES = 2 ** 50
/** FUSE_MAX_MAX_PAGES pages of 4 KiB, and one page, which the kernel takes at least. */
const MAX_READ_LIMIT = 2 ** 20
const MIN_READ_LIMIT = 4096

/** Objects of a SIF have numbers of 32 bits. */
const MAX_OBJECT = 2 ** 32 - 1

/** As much as squashfuse takes. */
const MAX_IDLE_SECONDS = 2 ** 32 - 1

type Flag = (state: OptionState) => unknown
type Setter = (state: OptionState, value: string, name: string) => void

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

export const FLAGS: Readonly<Record<string, Flag>> = {
  ro: ({ draft }) => {
    draft.showsOnly = true
  },
  // mount(8) passes it whenever nothing else is said, so alone it does not ask for a place for changes.
  rw: ({ draft }) => {
    draft.showsOnly = false
  },
  volatile: (state) => setFsync(state, 'volatile'),
  writeback: ({ draft }) => {
    draft.kernel.writeback = true
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
    draft.kernel.ino32 = true
  },
  debug: ({ draft }) => {
    draft.kernel.debug = true
  },
  squash_to_root: (state) => {
    state.squashToRoot = true
  },
}

export const SETTERS: Readonly<Record<string, Setter>> = {
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
  offset: (state, value, name) => {
    state.offset = parseOffset(value, name)
  },
  partition: ({ parts }, value, name) => {
    parts.partition = parseInteger(name, value, 0, MAX_OBJECT)
  },
  overlays: ({ parts }, value, name) => {
    parts.overlays = oneOf<'auto' | 'none'>(name, value, ['auto', 'none'])
  },
  ext3: (state, value, name) => {
    state.ext3 = oneOf(name, value, ['fuse2fs'])
    // Apptainer mounts it by fuse-overlayfs next, which knows no redirects.
    state.draft.upper.redirectDir = false
  },
  subdir: ({ draft }, value) => {
    draft.subdir = value
  },
  driver: ({ draft }, value) => {
    draft.driver = parseDriver(value)
  },
  // Who serves the mount is decided before there is a request: here it is only checked.
  server: (_, value, name) => {
    oneOf<'own' | 'shared'>(name, value, ['own', 'shared'])
  },
  cache_size: ({ draft }, value, name) => {
    draft.cacheSize = parseSize(name, value, MIN_CACHE_BYTES, MAX_CACHE_BYTES)
  },
  threads: ({ draft }, value, name) => {
    draft.workers = parseInteger(name, value, 0, MAX_WORKERS)
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
    draft.notifyPipe = absolutePath(value)
  },
  timeout: ({ draft }, value, name) => {
    const seconds = parseInteger(name, value, 0, MAX_IDLE_SECONDS)
    draft.idleTimeout = seconds === 0 ? undefined : seconds
    draft.kernel.countsOpens = seconds > 0
  },
  fsync: (state, value, name) => setFsync(state, oneOf(name, value, ['auto', 'strict', 'volatile'])),
  writeback: ({ draft }, value, name) => {
    draft.kernel.writeback = ['1', 'on'].includes(oneOf(name, value, ['0', '1', 'on', 'off']))
  },
  copyup: ({ draft }, value, name) => {
    draft.kernel.copyUpAtOpen = oneOf(name, value, ['open', 'change']) === 'open'
  },
  redirect_dir: (state, value, name) => {
    const wished = oneOf(name, value, ['on', 'follow', 'nofollow', 'off'])
    state.draft.upper.redirectDir = wished === 'on'
    state.followsRedirects = ['on', 'follow'].includes(wished)
  },
  xattr_permissions: ({ draft }, value, name) => {
    const wished = oneOf(name, value, ['0', '1', '2', 'auto'])
    draft.upper.recordOwners = wished === 'auto' ? undefined : OWNER_RECORDS[wished]
  },
  xattr: ({ draft }, value, name) => {
    const wished = oneOf(name, value, ['user', 'trusted'])
    draft.upper.markers = wished
  },
  size: ({ draft }, value, name) => {
    draft.upper.size = parseSize(name, value, MIN_CHANGES_BYTES, MAX_CHANGES_BYTES)
  },
  verify: (state, value) => {
    state.verify = parseVerifyMode(value)
  },
}

const OWNER_RECORDS = { '0': 'never', '1': 'security', '2': 'user' } as const

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

/**
 * Several options say when changes reach the disk: the last one counts.
 * @param volatileSign whether overlayfs shall refuse the upper later
 */
export function setFsync(
  { draft }: OptionState,
  mode: MountOptions['upper']['fsync'],
  volatileSign = true,
): void {
  draft.upper.fsync = mode
  draft.upper.volatileSign = volatileSign
}

/** Own properties only: a word of the user may be `constructor`. */
export function lookup<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
