import { complaintOf, UsageError } from '../../base/index.ts'

/**
 * Refuses what is no path, before anything is done with it.
 * @param values by the names of the arguments
 * @throws UsageError
 */
export function assertPaths(values: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(values)) {
    const complaint = complaintOf(name, value)
    if (complaint !== undefined) throw new UsageError(complaint)
  }
}
