import type { PathText } from '../../base/index.ts'

/** The words of `mount` or `overlay`, as commander makes them. */
export interface DirectFlags {
  /** Words that are no options. */
  readonly args: readonly PathText[]
  readonly flags: Readonly<Record<string, string | boolean | readonly string[]>>
}

/** Options that a mount in the background has in most calls; the program itself knows the others. */
const WITH_VALUE = new Set(
  '--root-hash --offset --verify --metadir --log --log-level --persist --upper --store --index-dir'.split(
    ' ',
  ),
)
const ALONE = new Set('--allow-missing-verity --writeable --writable --debug'.split(' '))

/** What `overlay` has of them. */
const OF_OVERLAY = new Set('--metadir --log --log-level --debug'.split(' '))

/**
 * Reads the words behind the verb as commander does, without commander: loading it takes as long as all else that a
 * mount does before it mounts.
 * @returns undefined where a word is not plain enough
 */
export function readFlags(verb: 'mount' | 'overlay', words: readonly PathText[]): DirectFlags | undefined {
  const args: PathText[] = []
  const o: string[] = []
  const flags: Record<string, string | boolean> = {}
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [name = '', ...rest] = word.split('=')
    if (!word.startsWith('-')) args.push(word)
    else if (/^-o./.test(word)) o.push(word.slice(2))
    else if (word === '-o' || WITH_VALUE.has(name)) {
      const value = rest.length > 0 ? rest.join('=') : words[++at]
      if (value === undefined) return undefined
      if (word === '-o') o.push(value)
      else flags[keyOf(name)] = value
    } else if (ALONE.has(word)) flags[keyOf(word)] = true
    else return undefined
    if (name.startsWith('--') && verb === 'overlay' && !OF_OVERLAY.has(name)) return undefined
  }
  return { args, flags: o.length > 0 ? { ...flags, o } : flags }
}

/** `--log-level` is `logLevel`. */
function keyOf(name: string): string {
  return name.slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}
