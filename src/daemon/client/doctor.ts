import { closeSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encryptionTools } from '../../crypt/tools.ts'
import { FUSE_DEVICE, openFuseDevice } from '../../sys/mounts/device.ts'
import { fusermountVersion } from '../../sys/mounts/fusermount.ts'
import { mountBy, userMayAllowOther } from '../../sys/mounts/mount.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { isInitialUserNamespace, namespaceNumber } from '../../sys/plain/namespaces.ts'
import { effectiveUid, hasSysAdmin } from '../../sys/plain/rights.ts'
import { userNamespaceFailure } from '../../sys/process/user-namespaces.ts'
import { explain } from '../life/failure.ts'
import { makeRunDir, runDirCandidates } from '../runtime/folders.ts'

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
  /** Some way to mount works: each was tried. */
  readonly canMount: boolean
}

/** What this machine lets us do. Tries real mounts in a temporary directory, since only that is proof. */
export async function examine(): Promise<DoctorReport> {
  const ways = [await tryWay('mount'), await tryWay('fusermount')]
  const runtimeData = checkRuntimeData()
  return {
    checks: [
      checkNode(),
      checkPrivileges(),
      checkDevice(),
      await checkFusermount(),
      checkAllowOther(),
      checkMountMax(),
      checkUserNamespaces(),
      runtimeData,
      checkEncryption(),
      ...ways,
      HANDED_OVER,
      summary(ways),
    ],
    canMount: runtimeData.status === 'ok' && ways.some((way) => way.status === 'ok'),
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
    return { name: FUSE_DEVICE, status: 'fail', detail: explain(error) }
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

/** The other way for plain users: root of a namespace of their own mounts by mount(2) there. */
function checkUserNamespaces(): Check {
  const name = 'user namespaces'
  const failure = userNamespaceFailure()
  return failure === undefined
    ? { name, status: 'ok', detail: "can be made: 'unshare -rm' gives the right to mount" }
    : { name, status: 'warn', detail: failure }
}

/** Does what `mount` does: the first folder that is ours and takes a file, made where it is missing. */
function checkRuntimeData(): Check {
  const name = 'runtime data'
  try {
    const { folder, entries } = makeRunDir(runDirCandidates(undefined))
    try {
      entries.write(TRIAL_FILE, '-')
      entries.remove(TRIAL_FILE)
    } finally {
      entries.close()
      folder.close()
    }
    return { name, status: 'ok', detail: folder.path }
  } catch (error) {
    return { name, status: 'fail', detail: explain(error) }
  }
}

function checkEncryption(): Check {
  const name = 'encrypted images'
  const { argon2, isArgon2Native, cipher } = encryptionTools()
  if (argon2 === undefined || cipher === undefined) {
    const missing = argon2 === undefined ? 'argon2 (the package hash-wasm)' : 'AES-XTS'
    return { name, status: 'warn', detail: `cannot be opened: no ${missing}` }
  }
  const faster = isArgon2Native ? '' : '; Node 24.7 or the library libargon2.so.1 derives keys faster'
  return { name, status: 'ok', detail: `argon2: ${argon2}, AES-XTS: ${cipher}${faster}` }
}

/** No entry has such a name: targets are absolute. */
const TRIAL_FILE = '.doctor'

const WAYS = { mount: 'mount(2)', fusermount: 'fusermount3' } as const

/** Fails with the words that `mount` prints. One way that does not work is no fault where the other does. */
async function tryWay(way: keyof typeof WAYS): Promise<Check> {
  const name = `way: ${WAYS[way]}`
  if (way === 'mount' && !hasSysAdmin()) {
    const detail = "needs CAP_SYS_ADMIN: run as root, or in a user namespace ('unshare -rm')"
    return { name, status: 'info', detail }
  }
  let folder: string
  try {
    folder = mkdtempSync(join(tmpdir(), 'atomfs-doctor-'))
  } catch (error) {
    return { name, status: 'fail', detail: `no folder to mount on: ${explain(error)}` }
  }
  try {
    const mount = await mountBy(way, {
      target: folder,
      fsname: 'atomfs-doctor',
      readOnly: true,
      nosuid: true,
      nodev: true,
      noexec: true,
      allowOther: false,
      defaultPermissions: true,
    })
    // Unmounted before the descriptor is closed, so that no process meets a dead mount.
    await unmountFuse(folder, true)
    closeSync(mount.fuseFd)
    return { name, status: 'ok', detail: 'a mount was made and undone' }
  } catch (error) {
    return { name, status: 'fail', detail: explain(error) }
  } finally {
    rmdirSync(folder)
  }
}

/** The way that `mount` takes, or why there is none. */
function summary(ways: readonly Check[]): Check {
  const name = 'trial mount'
  const works = ways.find((way) => way.status === 'ok')
  if (works !== undefined)
    return { name, status: 'ok', detail: `works by ${works.name.slice('way: '.length)}` }
  const failed = ways.find((way) => way.status === 'fail')
  return { name, status: 'fail', detail: failed?.detail ?? 'no way to mount' }
}

const HANDED_OVER: Check = {
  name: 'way: /dev/fd/N',
  status: 'info',
  detail: 'needs nothing here: the caller mounts, and hands over the open device as TARGET /dev/fd/N',
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
