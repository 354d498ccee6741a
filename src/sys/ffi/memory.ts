import { readFileSync } from 'node:fs'
import { procPath } from '../plain/proc.ts'

/**
 * Resident memory of this process, bytes; 0 where it cannot be read. `process.memoryUsage` reads `/proc` by an absolute
 * path, which `procPath` avoids.
 */
export function residentBytes(): number {
  try {
    const kibibytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(procPath('self/status'), 'latin1'))?.[1]
    return Number(kibibytes ?? 0) * 1024
  } catch {
    return 0
  }
}
