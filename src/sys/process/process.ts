import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { namespaceNumber } from '../plain/namespaces.ts'
import { O_CLOEXEC } from '../plain/open-flags.ts'
import { procPath } from '../plain/proc.ts'

/** Names one process for good: a recycled pid has another start time, and after a reboot another boot id. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks between boot and the start of the process (field 22 of proc_pid_stat(5)). */
  readonly startTime: number
  readonly bootId: string
  /** The pid namespace in which `pid` is valid. */
  readonly pidNamespace: number
}

/** `foreign`: the process lives in another pid namespace, so its state is not known here. */
export type Liveness = 'alive' | 'gone' | 'foreign'

/** Of this process, for others to find again. */
export function ownIdentity(): ProcessIdentity {
  return identityOf(process.pid)
}

/** Enough to know a process again when its number has become another one's. */
export function identityOf(pid: number): ProcessIdentity {
  return {
    pid,
    startTime: readProcStat(pid)?.startTime ?? 0,
    bootId: readBootId(),
    pidNamespace: namespaceNumber('pid') ?? 0,
  }
}

/** Whether that process still runs. A zombie is gone: it holds no descriptors. */
export function livenessOf(identity: ProcessIdentity): Liveness {
  if (identity.bootId !== readBootId()) return 'gone'
  if (identity.pidNamespace !== (namespaceNumber('pid') ?? 0)) return 'foreign'
  const stat = readProcStat(identity.pid)
  if (stat === undefined || stat.startTime !== identity.startTime) return 'gone'
  return stat.state === 'Z' || stat.state === 'X' ? 'gone' : 'alive'
}

/** Waits until the process is gone. @returns false when it still runs after `timeoutMs` */
export async function waitUntilGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (livenessOf(identity) === 'alive') {
    if (performance.now() >= deadline) return false
    await sleep(5)
  }
  return true
}

interface ProcStat {
  readonly state: string
  readonly startTime: number
}

/** State and start time in the text of `/proc/PID/stat`; undefined for a malformed text. */
export function parseProcStat(text: string): ProcStat | undefined {
  // The command name may hold blanks and parentheses, so fields are counted from the last `)`.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  const startTime = Number(fields[19])
  return state === undefined || !Number.isSafeInteger(startTime) ? undefined : { state, startTime }
}

function readProcStat(pid: number): ProcStat | undefined {
  try {
    return parseProcStat(readFileSync(procPath(`${pid}/stat`), 'latin1'))
  } catch {
    return undefined
  }
}

function readBootId(): string {
  try {
    return readFileSync(procPath('sys/kernel/random/boot_id'), 'latin1').trim()
  } catch {
    return ''
  }
}

/**
 * Closes the descriptors above stderr that the caller left open, except `keep`, so that the daemon does not hold a pipe
 * of the caller. Node opens everything with O_CLOEXEC and marks the low inherited descriptors. So a descriptor without
 * the flag is inherited, and Node has not marked it.
 */
export function closeInheritedDescriptors(keep: readonly number[]): void {
  let names: string[]
  try {
    names = readdirSync(procPath('self/fd'))
  } catch {
    return
  }
  for (const descriptor of names.map(Number)) {
    if (descriptor <= 2 || keep.includes(descriptor)) continue
    try {
      const info = readFileSync(procPath(`self/fdinfo/${descriptor}`), 'latin1')
      const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0', 8)
      if ((flags & O_CLOEXEC) === 0) closeSync(descriptor)
    } catch {
      // readdirSync has closed it: the folder was read through it.
    }
  }
}
