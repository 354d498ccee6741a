import { existsSync } from 'node:fs'
import { type PathText, systemPath } from '../base/index.ts'

/** Whether a directory says that it is an image layout. */
export function isLayout(directory: PathText): boolean {
  return existsSync(systemPath(`${directory}/oci-layout`))
}
