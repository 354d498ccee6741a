import { existsSync } from 'node:fs'
import { systemPath } from '../../base/index.ts'

/** The commands of the program, and what stands in their place. */
const COMMANDS: ReadonlySet<string> = new Set(
  'mount overlay umount unmount verify status inspect pack convert commit run bundle unpack extract ls cat diff store doctor install-links completion help'.split(
    ' ',
  ),
)

/**
 * Puts the verb `mount` before the words of a caller that knows none: mount(8), mount.fuse3 and systemd say
 * `PROGRAM SOURCE TARGET -o OPTIONS` to every FUSE program. A mistyped command is left to be found out as one.
 */
export function withVerb(words: readonly string[]): readonly string[] {
  const first = skipOptions(words)
  const [source, target] = words.slice(first)
  if (source === undefined || target === undefined || COMMANDS.has(source)) return words
  if (target.startsWith('-') || !hasOnlyOptions(words.slice(first + 2))) return words
  // A mount may be called by any name.
  return namesImage(source) || words.some(asksRemount) ? ['mount', ...words] : words
}

/** Whether a word of the command line is a list of options that asks for a mount to be changed. */
export function asksRemount(word: string): boolean {
  return /^(-o|.*,)?remount(,|$)/.test(word)
}

/** @returns where the first word is that is neither a short option nor its value */
function skipOptions(words: readonly string[]): number {
  let at = 0
  while (words[at]?.startsWith('-') === true) at += words[at] === '-o' ? 2 : 1
  return at
}

function hasOnlyOptions(words: readonly string[]): boolean {
  const next = skipOptions(words)
  // The value of a long option is a word by itself.
  return next >= words.length || words[next - 1]?.startsWith('--') === true
}

/** No command has such characters in it, and a file is none. */
function namesImage(word: string): boolean {
  return /[/:@]/.test(word) || existsSync(systemPath(word))
}
