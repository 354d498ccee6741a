export type { ClientReport } from './small-files.ts'

import { createFiles, readFiles } from './small-files.ts'

/**
 * Programs that use a mount from a process of their own, and say themselves how long it took: starting Node takes as
 * long as many thousand system calls.
 * @param args name, directory, number of files
 * @returns a `ClientReport` as JSON
 */
export function runClient([name, directory = '', count]: readonly string[]): string {
  switch (name) {
    case 'create':
      return `${JSON.stringify(createFiles(directory, Number(count)))}\n`
    case 'read':
      return `${JSON.stringify(readFiles(directory, Number(count)))}\n`
    default:
      throw new Error(`no client ${name}`)
  }
}
