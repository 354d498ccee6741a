import type { PathText } from '../../base/index.ts'

/** A call of squashfuse, as fuse_opt_parse(3) and fuse_parse_cmdline(3) read it. */
export interface SquashfuseCall {
  readonly archive: PathText
  readonly mountpoint: PathText
  readonly foreground: boolean
  readonly debug: boolean
  /** The values of all `-o`. */
  readonly lists: readonly string[]
  /** The first flag that nobody knows. */
  readonly unknown?: string
}

/**
 * Reads the words after the name; flags may stand anywhere.
 * @returns the values of all `-o` alone where usage is to be shown: on request, or for too few or too many words
 */
export function readSquashfuseWords(
  words: readonly PathText[],
): SquashfuseCall | Pick<SquashfuseCall, 'lists'> {
  const paths: PathText[] = []
  const lists: string[] = []
  const flags = new Set<string>()
  let asksUsage = false
  let unknown: string | undefined
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      paths.push(...words.slice(at + 1))
      break
    }
    if (word === '-o') {
      const value = words[++at]
      if (value === undefined) asksUsage = true
      else lists.push(value)
    } else if (word.startsWith('-o')) lists.push(word.slice(2))
    // `-s` is for a server of one thread: ours has one that answers, and the others decompress.
    else if (word === '-f' || word === '-s' || word === '-d') flags.add(word)
    else if (/^--?h/.test(word) || word === '-V' || word === '--version') asksUsage = true
    else if (word.startsWith('-') && word !== '-') unknown ??= word
    else paths.push(word)
  }
  const [archive, mountpoint] = paths
  if (asksUsage || archive === undefined || mountpoint === undefined || paths.length > 2) return { lists }
  const debug = flags.has('-d')
  const call = { archive, mountpoint, foreground: flags.has('-f') || debug, debug, lists }
  return unknown === undefined ? call : { ...call, unknown }
}
