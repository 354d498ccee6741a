import { closeSync, fstatSync, readFileSync } from 'node:fs'
import { ERRNO, FsError, isErrno, type PathText, printable } from '../../base/index.ts'
import { cPath } from '../ffi/c-string.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { setNonBlocking } from '../files/descriptor.ts'
import { isInitialUserNamespace } from '../plain/namespaces.ts'
import { descriptorOf } from '../plain/proc.ts'
import { apparmorProfile, effectiveGid, effectiveUid, hasSelinux, hasSysAdmin } from '../plain/rights.ts'
import { userNamespaceLimits } from '../process/user-namespaces.ts'
import { openFuseDevice } from './device.ts'
import { fusermountMount } from './fusermount.ts'
import { FUSE_SUBTYPE, MOUNT_TYPE, readMountInfo, topMountAt } from './mountinfo.ts'

/** The options of one FUSE mount. */
export interface FuseMountOptions {
  /** Absolute path of a directory, or `/dev/fd/N` for a connection that the caller has mounted. */
  readonly target: PathText
  /** Text for the first column of mount tables. */
  readonly fsname: PathText
  readonly readOnly: boolean
  readonly nosuid: boolean
  readonly nodev: boolean
  readonly noexec: boolean
  readonly flags?: readonly MountFlag[]
  readonly allowOther: boolean
  readonly defaultPermissions: boolean
  /** Largest read request, bytes; the server's own limit where absent. */
  readonly maxRead?: number
  /** SELinux label of everything in the mount. */
  readonly context?: string
}

export interface FuseMount {
  /** Descriptor of the connection, non-blocking. */
  readonly fuseFd: number
  readonly way: 'mount' | 'fusermount' | 'inherited'
  /** `major:minor` of the mount; undefined for an inherited one, whose place is not known. */
  readonly device: string | undefined
  /** Options that are not in effect, one line each. */
  readonly warnings: readonly string[]
}

/** Flags of mount(2) (include/uapi/linux/mount.h). */
const MS_RDONLY = 1
const MS_NOSUID = 2
const MS_NODEV = 4
const MS_NOEXEC = 8
const MS_REMOUNT = 32

/** Further flags of a mount, by the names of mount(8). */
const MS_FLAGS = {
  /** Every write reaches the disk before it returns. */
  sync: 1 << 4,
  dirsync: 1 << 7,
  /** The kernel shows symbolic links but does not follow them (Linux 5.10). */
  nosymfollow: 1 << 8,
  noatime: 1 << 10,
  nodiratime: 1 << 11,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
} as const

export type MountFlag = keyof typeof MS_FLAGS

/**
 * Flags that fusermount and libfuse know (libfuse, util/fusermount.c:mount_flags); the others matter only to mount
 * tables.
 */
const HELPER_FLAGS: readonly MountFlag[] = ['sync', 'dirsync', 'nosymfollow', 'noatime', 'nodiratime']

/** The flags of a mount that the helper has to get. */
export function helperFlags(flags: readonly MountFlag[] = []): readonly MountFlag[] {
  return flags.filter((flag) => HELPER_FLAGS.includes(flag))
}

/**
 * Mounts in the first way that works: mount(2) for root and root of a namespace, fusermount3 for other users. A
 * descriptor that the caller has mounted needs nothing.
 * @throws FsError with the reason of each way that was tried; nothing stays mounted or open
 */
export async function mountFuse(options: FuseMountOptions): Promise<FuseMount> {
  const inherited = inheritedFuseFd(options.target)
  if (inherited !== undefined) {
    return { fuseFd: inherited, way: 'inherited', device: undefined, warnings: [] }
  }
  if (!hasSysAdmin()) return await mountByHelper(options)
  try {
    return mountDirectly(options)
  } catch (error) {
    // Root of a container may lack the device or the right to mount, while its helper has both.
    if (!isErrno(error, 'EPERM', 'EACCES')) throw error
    try {
      return await mountByHelper(options)
    } catch (second) {
      const also = second instanceof FsError && second.code !== 'ENOENT' ? `; and ${second.message}` : ''
      throw also === '' ? error : new FsError(error.code, `${error.message}${also}`, { cause: error })
    }
  }
}

/** Mounts in one given way, as `doctor` tries them. @throws FsError as `mountFuse` */
export async function mountBy(way: 'mount' | 'fusermount', options: FuseMountOptions): Promise<FuseMount> {
  return way === 'mount' ? mountDirectly(options) : await mountByHelper(options)
}

/**
 * The descriptor N of a target `/dev/fd/N`, libfuse's form for a connection that the caller has mounted.
 * @throws FsError EINVAL where it is not open or not a FUSE connection
 */
export function inheritedFuseFd(target: string): number | undefined {
  const fd = descriptorOf(target)
  if (fd === undefined) return undefined
  let isDevice: boolean
  try {
    isDevice = fstatSync(fd).isCharacterDevice()
  } catch (error) {
    throw new FsError('EINVAL', `target ${target}: descriptor ${fd} is not open`, { cause: error })
  }
  if (!isDevice) throw new FsError('EINVAL', `target ${target}: descriptor ${fd} is not an open /dev/fuse`)
  setNonBlocking(fd)
  return fd
}

const mount = libcFunction(
  'int mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)',
)

function mountDirectly(options: FuseMountOptions): FuseMount {
  const fuseFd = openFuseDevice()
  try {
    const flags =
      (options.readOnly ? MS_RDONLY : 0) |
      (options.nosuid ? MS_NOSUID : 0) |
      (options.nodev ? MS_NODEV : 0) |
      (options.noexec ? MS_NOEXEC : 0) |
      (options.flags ?? []).reduce((bits, flag) => bits | MS_FLAGS[flag], 0)
    const data = [
      `fd=${fuseFd}`,
      'rootmode=40000',
      `user_id=${effectiveUid()}`,
      `group_id=${effectiveGid()}`,
      ...fuseOptions(options),
    ].join(',')
    if (mount(cPath(options.fsname), cPath(options.target), MOUNT_TYPE, flags, data) !== 0) {
      throw mountError(options.target, lastErrno())
    }
  } catch (error) {
    closeSync(fuseFd)
    throw error
  }
  return { fuseFd, way: 'mount', device: deviceAt(options.target), warnings: [] }
}

/**
 * Changes the flags of a mount.
 * @param words all flags that the mount has from then on, by the names of mount(8); other words are ignored
 * @throws FsError EBUSY while files are open for writing, EPERM
 */
export function remountFuse(target: string, words: ReadonlySet<string>): void {
  const table = { ro: MS_RDONLY, nosuid: MS_NOSUID, nodev: MS_NODEV, noexec: MS_NOEXEC, ...MS_FLAGS }
  let flags = MS_REMOUNT
  for (const [word, flag] of Object.entries(table)) if (words.has(word)) flags |= flag
  if (Number(mount('none', target, MOUNT_TYPE, flags, '')) === 0) return
  const failure = systemError(`remount ${target}`)
  if (failure.code === 'EBUSY') {
    throw new FsError(
      'EBUSY',
      `remount ${target}: files are open for writing ('fuser -vm ${target}' lists them)`,
    )
  }
  if (failure.code === 'EPERM') {
    throw new FsError(
      'EPERM',
      `remount ${target}: only root, or root of the user namespace that mounted it, may`,
    )
  }
  throw failure
}

async function mountByHelper(options: FuseMountOptions): Promise<FuseMount> {
  const warnings: string[] = []
  let allowOther = options.allowOther
  if (allowOther && effectiveUid() !== 0 && !userMayAllowOther()) {
    // The helper would refuse the whole mount because of it.
    allowOther = false
    warnings.push("allow_other is not in effect: put 'user_allow_other' into /etc/fuse.conf")
  }
  // fusermount itself sets nosuid and nodev for plain users.
  const list = [
    ...(options.readOnly ? ['ro'] : []),
    ...(options.nosuid ? ['nosuid'] : []),
    ...(options.nodev ? ['nodev'] : []),
    ...(options.noexec ? ['noexec'] : []),
    ...helperFlags(options.flags),
    ...fuseOptions({ ...options, allowOther }),
    // The helper takes its options as text.
    `fsname=${escapeComma(printable(options.fsname))}`,
    `subtype=${FUSE_SUBTYPE}`,
  ]
  const fuseFd = await fusermountMount(options.target, list.join(','))
  setNonBlocking(fuseFd)
  return { fuseFd, way: 'fusermount', device: deviceAt(options.target), warnings }
}

/** Options of fs/fuse/inode.c, the same for both ways. */
function fuseOptions(options: FuseMountOptions): readonly string[] {
  return [
    ...(options.defaultPermissions ? ['default_permissions'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
    ...(options.maxRead === undefined ? [] : [`max_read=${options.maxRead}`]),
    // In quotes, because a label may hold commas (security/selinux/hooks.c:selinux_sb_eat_lsm_opts). A kernel without
    // SELinux refuses the whole mount for it, so mount(8) leaves it out, too.
    ...(options.context === undefined || !hasSelinux() ? [] : [`context="${options.context}"`]),
  ]
}

function escapeComma(text: string): string {
  return text.replace(/[\\,]/g, '\\$&')
}

/** True where fuse.conf lets plain users share their mounts: the option stands on a line of its own. */
export function userMayAllowOther(path = '/etc/fuse.conf'): boolean {
  try {
    return /^[ \t]*user_allow_other[ \t]*$/m.test(readFileSync(path, 'latin1'))
  } catch {
    return false
  }
}

/** Identifies the mount later, so that the unmount never hits one that another process mounted over it. */
function deviceAt(target: PathText): string | undefined {
  const top = topMountAt(readMountInfo(), target)
  return top?.type === MOUNT_TYPE ? top.device : undefined
}

/** The error of mount(2), with a remedy (mount(2), fs/fuse/inode.c:fuse_get_tree). */
function mountError(target: string, number: number): FsError {
  const failure = systemError(`mount on ${target}`)
  switch (number) {
    case ERRNO.EPERM:
      return new FsError(
        'EPERM',
        `mount on ${target}: not permitted: CAP_SYS_ADMIN is missing in this mount namespace; try 'unshare -rm' or install fusermount3${confinement()}`,
      )
    case ERRNO.EACCES:
      return new FsError(
        'EACCES',
        `mount on ${target}: refused by a security policy (AppArmor, SELinux): allow mounts of type ${MOUNT_TYPE}${confinement()}`,
      )
    case ERRNO.ENODEV:
      return new FsError('ENODEV', `mount on ${target}: the kernel has no FUSE: load it with 'modprobe fuse'`)
    case ERRNO.ENOSPC:
      return new FsError(
        'ENOSPC',
        `mount on ${target}: too many mounts in this namespace (sysctl fs.mount-max)`,
      )
    default:
      return failure
  }
}

/** The AppArmor profile of this process, and the limits of user namespaces; empty where there is neither. */
function confinement(): string {
  const parts = isInitialUserNamespace() ? [] : [...userNamespaceLimits()]
  const profile = apparmorProfile()
  if (profile !== undefined) parts.unshift(`this process is confined by the AppArmor profile '${profile}'`)
  return parts.length === 0 ? '' : `; ${parts.join('; ')}`
}
