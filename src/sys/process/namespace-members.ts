import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { codeOf } from '../../base/index.ts'
import { isInitialUserNamespace, namespaceNumber } from '../plain/namespaces.ts'
import { procPath } from '../plain/proc.ts'
import { effectiveUid } from '../plain/rights.ts'

/** Inode of the pid namespace the machine booted with (include/linux/proc_ns.h:PROC_PID_INIT_INO). */
const INITIAL_PID_NAMESPACE = 0xeffffffc

/** `pid`: a process that lives in it. `held`: it stays without one. `none`: nothing but ourselves. */
export type NamespaceHolder =
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'none' }

/** The mount namespace of a process, as text; undefined where the process is gone, `hidden` where it is not ours to see. */
function mountNamespaceOf(pid: number | 'self'): string | undefined | 'hidden' {
  try {
    return readlinkSync(procPath(`${pid}/ns/mnt`))
  } catch (error) {
    const code = codeOf(error)
    return code === 'EACCES' || code === 'EPERM' ? 'hidden' : undefined
  }
}

/** Whether that process is alive and in the mount namespace of this one. */
export function livesHere(pid: number): boolean {
  return mountNamespaceOf(pid) === mountNamespaceOf('self')
}

/** The first process of a pid namespace, and the parent of the kernel's own threads, who never leave the first one. */
const OLDEST = [1, 2]

/**
 * True in the mount namespace of the machine, or of the container whose end ends us as well. Where that cannot be
 * seen: true for a plain user outside of containers.
 */
export function isLastingMountNamespace(): boolean {
  const own = mountNamespaceOf('self')
  if (own === undefined || own === 'hidden') return true
  const oldest = namespaceNumber('pid') === INITIAL_PID_NAMESPACE ? OLDEST : OLDEST.slice(0, 1)
  const known = oldest.map(mountNamespaceOf).filter((one) => one !== undefined && one !== 'hidden')
  return known.length === 0 ? hiddenCounts() : known.includes(own)
}

/**
 * Processes that we may not look at belong to other users or have more rights. For a plain user they may be anywhere;
 * root, of the machine or of a namespace, sees all that is in a mount namespace of his own.
 */
function hiddenCounts(): boolean {
  return isInitialUserNamespace() && effectiveUid() !== 0
}

/**
 * Who keeps this mount namespace: a process for which `counts`, the first one by age, or something that outlives
 * processes: an open descriptor of it, or a file it is mounted on (unshare(1), `--mount=FILE`).
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

/** Namespaces are bound in the namespace of the machine, where process 1 lives. */
function isMountedSomewhere(namespace: string): boolean {
  try {
    return readFileSync(procPath('1/mountinfo'), 'latin1').includes(` ${namespace} `)
  } catch {
    return false
  }
}
