import { readdirSync, readFileSync } from 'node:fs'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { procPath } from '../../sys/plain/proc.ts'

/**
 * Makes all descriptors of this process that lead into a mount mean another open file: then nothing here keeps the mount
 * alive. To be called when no thread uses them any more; asks nothing of the mount itself.
 * @param mountId as mountinfo has it
 */
export function letGoOf(mountId: number, standIn: number): void {
  const line = new RegExp(`^mnt_id:\\s+${mountId}$`, 'm')
  for (const name of readdirSync(procPath('self/fdinfo'))) {
    if (line.test(infoOf(name))) replaceDescriptor(standIn, Number(name))
  }
}

/** Empty for a descriptor that was open for the listing alone. */
function infoOf(name: string): string {
  try {
    return readFileSync(procPath(`self/fdinfo/${name}`), 'latin1')
  } catch {
    return ''
  }
}
