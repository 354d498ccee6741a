import type { PathText } from '../../base/index.ts'

/** Flags of the command `overlay`, one letter each: foreground, debug, help, version. */
const LETTERS = /^-[fdhV]+$/
/** Its other options, without and with a value. */
const FLAGS = new Set(['--foreground', '--debug', '--help', '--version'])
const VALUES = new Set([
  ...['-o', '--metadir', '--log', '--log-level'],
  ...['--passphrase-file', '--kdf-memory', '--kdf-time'],
])

/** What libfuse takes and ours has no use for: its server of one thread. */
const WITHOUT_EFFECT = new Set(['-s'])

/** The words after the name fuse-overlayfs. */
export interface OverlayWords {
  /** What `overlay` takes. */
  readonly known: readonly PathText[]
  /** Options that nobody knows, in their order. */
  readonly ignored: readonly PathText[]
}

/** Separates options that `overlay` does not know: fuse-overlayfs names them and mounts all the same. */
export function readOverlayWords(words: readonly PathText[]): OverlayWords {
  const known: PathText[] = []
  const ignored: PathText[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [name = ''] = word.split('=', 1)
    if (word === '--') {
      known.push(...words.slice(at))
      break
    }
    if (VALUES.has(word)) known.push(...words.slice(at, ++at + 1))
    else if (!word.startsWith('-') || word === '-' || /^-o./.test(word)) known.push(word)
    else if (LETTERS.test(word) || FLAGS.has(word) || (VALUES.has(name) && name !== '-o')) known.push(word)
    else if (!WITHOUT_EFFECT.has(word)) ignored.push(word)
  }
  return { known, ignored }
}
