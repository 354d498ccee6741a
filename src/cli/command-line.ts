import { readFileSync } from 'node:fs'
import { decodePath, type PathText } from '../base/index.ts'

/**
 * The words of the command line, exact to the byte. Node decodes them as UTF-8 and puts U+FFFD for what is
 * none; the kernel has them as they came (proc_pid_cmdline(5)).
 */
export function commandLine(): readonly PathText[] {
  const words = process.argv.slice(2)
  if (!words.some((word) => word.includes('\ufffd'))) return words
  // Latin-1 keeps bytes. Before our words stand those for Node itself; behind each there is a NUL.
  const all = readFileSync('/proc/self/cmdline', 'latin1').split('\0').slice(0, -1)
  return all.slice(-words.length).map((word) => decodePath(Buffer.from(word, 'latin1')))
}
