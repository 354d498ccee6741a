import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { procPath } from '../plain/proc.ts'

/**
 * Tells when programs wait for memory (Documentation/accounting/psi.rst). The kernel wakes a thread that waits in
 * poll(2) for POLLPRI of the descriptor, at most once in a window; nobody has to look meanwhile.
 */

/** Programs that stood still for this long within a window. Reading ahead and a lone burst stay below it. */
const STALL_US = 150_000
/** Users without privileges may ask for windows of whole multiples of 2 s only (kernel/sched/psi.c). */
const WINDOW_US = 2_000_000

/**
 * Watches the control group of this process, or the whole machine where that cannot be.
 * @returns a descriptor that the caller closes; undefined where the kernel tells nothing of this (no PSI, before 6.5
 * without CAP_SYS_RESOURCE)
 */
export function openMemoryPressure(): number | undefined {
  for (const path of [...ownControlGroup(), procPath('pressure/memory')]) {
    const fd = watch(path)
    if (fd !== undefined) return fd
  }
  return undefined
}

function watch(path: string): number | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r+')
    writeSync(fd, `some ${STALL_US} ${WINDOW_US}\0`)
    return fd
  } catch {
    if (fd !== undefined) closeSync(fd)
    return undefined
  }
}

/** Where version 2 of control groups is mounted by custom: alone, or beside those of version 1. */
function ownControlGroup(): string[] {
  const path = /^0::(\/.+)$/m.exec(readText(procPath('self/cgroup')))?.[1]
  if (path === undefined) return []
  return ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].map((root) => `${root}${path}/memory.pressure`)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
