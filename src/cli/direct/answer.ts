import { writeSync } from 'node:fs'
import { encodePath, type PathText } from '../../base/index.ts'
import { ownerWarning } from '../../daemon/client/owner-warning.ts'
import type { MountRequest } from '../../request/index.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { formatLines, formatWarnings } from '../print/format.ts'

/**
 * Answers the launcher, and lets go of its pipe. The lines are: the pid; what to say where the root of the mount cannot
 * be written to, perhaps nothing; the target, as a directory to look at; what to say in any case.
 * @throws EPIPE where the launcher has gone
 */
export function sendReady(
  request: MountRequest,
  ignored: readonly string[],
  warnings: readonly string[],
): void {
  sendLines(`${process.pid}`, request.target, ownerWarning(request), ignored, warnings)
  // Standard input is /dev/null.
  replaceDescriptor(0, 1)
}

/** Writes these lines, the first of which says who has mounted. @throws EPIPE */
export function sendLines(
  who: string,
  target: PathText,
  owner: string | undefined,
  ignored: readonly string[],
  warnings: readonly string[],
): void {
  const parts = [
    `${who}\n${owner === undefined ? '\n' : formatWarnings([owner])}`,
    encodePath(target),
    `/\n${formatLines(ignored)}${formatWarnings(warnings)}`,
  ]
  writeSync(1, Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))))
}
