import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { codeOf } from '../../base/index.ts'
import { isInitialUserNamespace, namespaceNumber } from '../plain/namespaces.ts'
import { procPath } from '../plain/proc.ts'
import { effectiveUid } from '../plain/rights.ts'

/** Inode of the initial pid namespace (include/linux/proc_ns.h:PROC_PID_INIT_INO). */
const INITIAL_PID_NAMESPACE = 0xeffffffc

/** `pid`: a process in the namespace. `held`: the namespace stays without a process. `none`: only this process. */
export type NamespaceHolder =
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'none' }

/**
 * The mount namespace of a process, as text; undefined where the process is gone, `hidden` where the kernel refuses the
 * look.
 */
function mountNamespaceOf(pid: number | 'self'): string | undefined | 'hidden' {
  try {
    return readlinkSync(procPath(`${pid}/ns/mnt`))
  } catch (error) {
    const code = codeOf(error)
    return code === 'EACCES' || code === 'EPERM' ? 'hidden' : undefined
  }
}

/** True where the process is alive and in the mount namespace of this one. */
export function livesHere(pid: number): boolean {
  return mountNamespaceOf(pid) === mountNamespaceOf('self')
}

/**
 * Process 1, and in the initial pid namespace also the parent of the kernel's threads: neither leaves the first mount
 * namespace.
 */
const OLDEST = [1, 2]

/**
 * True where the namespace outlives this process: the machine's, or the container's own. Where that cannot be seen:
 * true for a plain user outside of containers.
 */
export function isLastingMountNamespace(): boolean {
  const own = mountNamespaceOf('self')
  if (own === undefined || own === 'hidden') return true
  const oldest = namespaceNumber('pid') === INITIAL_PID_NAMESPACE ? OLDEST : OLDEST.slice(0, 1)
  const known = oldest.map(mountNamespaceOf).filter((one) => one !== undefined && one !== 'hidden')
  return known.length === 0 ? hiddenCounts() : known.includes(own)
}

/**
 * Whether a hidden process may be in this mount namespace. Hidden processes belong to other users or have more rights.
 * For a plain user they may be in any namespace. Root, of the machine or of a namespace, sees all processes of its own
 * mount namespace.
 */
function hiddenCounts(): boolean {
  return isInitialUserNamespace() && effectiveUid() !== 0
}

/**
 * Finds what keeps this mount namespace alive: the process with the lowest pid for which `counts` is true, or something
 * that outlives processes, which is an open descriptor of the namespace or a file on which it is mounted (unshare(1),
 * `--mount=FILE`).
 */
export function findNamespaceHolder(counts: (pid: number) => boolean): NamespaceHolder {
  const own = mountNamespaceOf('self')
  if (own === undefined || own === 'hidden') return { kind: 'held' }
  const pids = processes().filter((pid) => pid !== process.pid)
  for (const pid of pids) {
    const namespace = mountNamespaceOf(pid)
    if (namespace === 'hidden' && hiddenCounts()) return { kind: 'held' }
    if (namespace === own && counts(pid)) return { kind: 'pid', pid }
  }
  if (pids.some((pid) => holdsDescriptor(pid, own)) || isMountedSomewhere(own)) return { kind: 'held' }
  return { kind: 'none' }
}

function processes(): readonly number[] {
  try {
    return readdirSync(procPath('.'))
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b)
  } catch {
    return []
  }
}

function holdsDescriptor(pid: number, namespace: string): boolean {
  try {
    const folder = procPath(`${pid}/fd`)
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === namespace)
  } catch {
    return false
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** A namespace is bound to a file in the mount namespace of the machine, where process 1 lives. */
function isMountedSomewhere(namespace: string): boolean {
  try {
    return readFileSync(procPath('1/mountinfo'), 'latin1').includes(` ${namespace} `)
  } catch {
    return false
  }
}
