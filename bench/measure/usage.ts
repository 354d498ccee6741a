import { readFileSync } from 'node:fs'

/** USER_HZ: the unit of times in /proc, the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** What serving processes have used so far, summed over them. */
export interface Usage {
  /** Largest resident memory each has had, bytes (VmHWM). */
  readonly peakBytes: number
  /** Resident memory now, shared pages by their share, bytes. */
  readonly pssBytes: number
  readonly cpuSeconds: number
}

/** @throws Error where one of the processes is gone */
export function usageOf(pids: readonly number[]): Usage {
  let [peakBytes, pssBytes] = [0, 0]
  for (const pid of pids) {
    peakBytes += kilobytes(`/proc/${pid}/status`, 'VmHWM')
    pssBytes += kilobytes(`/proc/${pid}/smaps_rollup`, 'Pss')
  }
  return { peakBytes, pssBytes, cpuSeconds: cpuSecondsOf(pids) }
}

export function cpuSecondsOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    // The name may hold spaces; what follows its parenthesis does not. utime and stime are fields 14 and 15.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? []
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

/** Busy time of all processors since boot: whoever does the work, also the kernel. */
export function machineCpuSeconds(): number {
  const [, ...fields] = (readFileSync('/proc/stat', 'latin1').split('\n')[0] ?? '').split(/ +/)
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields.map(Number)
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
}

function kilobytes(file: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(file, 'latin1'))
  if (match === null) throw new Error(`${file}: no ${field}`)
  return Number(match[1]) * 1024
}
