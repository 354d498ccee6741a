import { explain } from '../../daemon/life/failure.ts'
import { formatLines } from './format.ts'

/** The one line for an error of ours. */
export function formatFailure(error: unknown): string {
  return formatLines([`Error: ${explain(error).trim()}`])
}
