import { closeSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FUSE_DEVICE, openFuseDevice } from '../sys/device.ts'
import { fusermountVersion } from '../sys/fusermount.ts'
import { mountFuse, userMayAllowOther } from '../sys/mount.ts'
import { effectiveUid, hasSysAdmin, isInitialUserNamespace, namespaceNumber } from '../sys/namespaces.ts'
import { unmountFuse } from '../sys/unmount.ts'

/** `info` is a fact; `warn` limits what can be had; `fail` is what keeps mounts from working. */
export type CheckStatus = 'ok' | 'info' | 'warn' | 'fail'

export interface Check {
  readonly name: string
  readonly status: CheckStatus
  /** One line: what was found and, where it is not right, what to do. */
  readonly detail: string
}

export interface DoctorReport {
  readonly checks: readonly Check[]
  /** Some way to mount works: one was tried. */
  readonly canMount: boolean
}

/** What this machine lets us do. Tries a real mount in a temporary directory, since only that is proof. */
export async function examine(): Promise<DoctorReport> {
  const trial = await tryMount()
  return {
    checks: [
      checkNode(),
      checkPrivileges(),
      checkDevice(),
      await checkFusermount(),
      checkAllowOther(),
      checkMountMax(),
      ...checkUserNamespaces(),
      trial,
    ],
    canMount: trial.status === 'ok',
  }
}

/** `engines` of the package. */
const MIN_NODE = [20, 19] as const

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const isEnough = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])
  const detail = `${process.version} ${process.arch}`
  return isEnough
    ? { name: 'Node', status: 'ok', detail }
    : { name: 'Node', status: 'fail', detail: `${detail}: version ${MIN_NODE.join('.')} or later is needed` }
}

function checkPrivileges(): Check {
  const where = isInitialUserNamespace()
    ? 'the first user namespace'
    : `user namespace ${namespaceNumber('user')}`
  const may = hasSysAdmin() ? 'may call mount(2)' : 'mounts through fusermount3'
  return { name: 'privileges', status: 'info', detail: `uid ${effectiveUid()} in ${where}: ${may}` }
}

function checkDevice(): Check {
  try {
    closeSync(openFuseDevice())
    return { name: FUSE_DEVICE, status: 'ok', detail: 'can be opened' }
  } catch (error) {
    // For plain users as well: fusermount3 opens the device with the rights of its caller.
    return { name: FUSE_DEVICE, status: 'fail', detail: messageOf(error) }
  }
}

async function checkFusermount(): Promise<Check> {
  const found = await fusermountVersion()
  if (found !== undefined) {
    return { name: 'fusermount3', status: 'ok', detail: `${found.program}: ${found.version}` }
  }
  return {
    name: 'fusermount3',
    status: hasSysAdmin() ? 'info' : 'fail',
    detail: 'not installed: plain users need it (package fuse3)',
  }
}

function checkAllowOther(): Check {
  const name = 'allow_other'
  if (effectiveUid() === 0) return { name, status: 'ok', detail: 'root may use it' }
  return userMayAllowOther()
    ? { name, status: 'ok', detail: 'user_allow_other is set in /etc/fuse.conf' }
    : { name, status: 'warn', detail: "only for root: put 'user_allow_other' into /etc/fuse.conf" }
}

/** What fusermount allows where fuse.conf does not say. */
const DEFAULT_MOUNT_MAX = 1000

function checkMountMax(): Check {
  const configured = /^mount_max = (-?\d+)$/m.exec(readText('/etc/fuse.conf') ?? '')?.[1]
  const kernel = readText('/proc/sys/fs/mount-max')?.trim() ?? 'unknown'
  return {
    name: 'limits',
    status: 'info',
    detail: `${configured ?? DEFAULT_MOUNT_MAX} FUSE mounts of plain users (mount_max), ${kernel} mounts per namespace`,
  }
}

/** Limits on user namespaces, which are the other way for plain users (`unshare -rm`). */
function checkUserNamespaces(): readonly Check[] {
  const name = 'user namespaces'
  const limits = [
    {
      path: '/proc/sys/user/max_user_namespaces',
      closed: '0',
      remedy: 'none may be made: sysctl user.max_user_namespaces',
    },
    {
      path: '/proc/sys/kernel/unprivileged_userns_clone',
      closed: '0',
      remedy: 'closed to plain users: sysctl kernel.unprivileged_userns_clone=1',
    },
    {
      path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      closed: '1',
      remedy:
        'AppArmor takes their rights away: use fusermount3, or sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile with the rule "userns,"',
    },
  ]
  const closed = limits.filter((limit) => readText(limit.path)?.trim() === limit.closed)
  if (closed.length === 0) return [{ name, status: 'ok', detail: 'plain users may make them' }]
  return closed.map((limit): Check => ({ name, status: 'warn', detail: limit.remedy }))
}

async function tryMount(): Promise<Check> {
  const name = 'trial mount'
  const folder = mkdtempSync(join(tmpdir(), 'atomfs-doctor-'))
  try {
    const mount = await mountFuse({
      target: folder,
      fsname: 'atomfs-doctor',
      readOnly: true,
      nosuid: true,
      nodev: true,
      noexec: true,
      allowOther: false,
      defaultPermissions: true,
    })
    // Unmounted before the descriptor is closed: nobody meets a dead mount.
    await unmountFuse(folder, true)
    closeSync(mount.fuseFd)
    return {
      name,
      status: 'ok',
      detail: mount.way === 'mount' ? 'works by mount(2)' : 'works by fusermount3',
    }
  } catch (error) {
    return { name, status: 'fail', detail: messageOf(error) }
  } finally {
    rmdirSync(folder)
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
