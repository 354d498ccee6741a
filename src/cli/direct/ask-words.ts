import { basename } from 'node:path'
import type { PathText } from '../../base/index.ts'
import { readHelperWords } from '../personalities/helper-words.ts'
import { readOverlayWords } from '../personalities/overlay-words.ts'
import { readPuzzlefsWords } from '../personalities/puzzlefs-words.ts'
import { readSquashfuseWords } from '../personalities/squashfuse-words.ts'
import { withVerb } from '../program/verb.ts'
import { readFlags } from './flags.ts'

/** What a client of a shared server has to know of its words: the server reads the rest. */
export interface AskWords {
  /** Absent for an overlay. */
  readonly source?: PathText
  readonly target: PathText
}

/** Options that say where things of the caller are: his own server has them. */
const OWN_FLAGS = ['metadir', 'log', 'store', 'indexDir']

/**
 * Finds SOURCE and the target, where the words ask for a mount by a shared server.
 * @param program the name by which the program was called
 * @param wished `ATOMFS_SERVER`, which `server=` replaces
 * @returns undefined for all other words
 */
export function readAskWords(
  program: string,
  words: readonly PathText[],
  wished: string | undefined,
): AskWords | undefined {
  const found = byName(basename(program), words)
  if (found === undefined) return undefined
  return (serverOf(found.lists) ?? wished) === 'shared' ? found : undefined
}

function byName(
  name: string,
  words: readonly PathText[],
): (AskWords & { readonly lists: readonly string[] }) | undefined {
  switch (name) {
    case 'squashfuse':
    case 'squashfuse_ll': {
      const call = readSquashfuseWords(words)
      if (!('archive' in call) || call.foreground || call.unknown !== undefined) return undefined
      return { source: call.archive, target: call.mountpoint, lists: call.lists }
    }
    case 'puzzlefs': {
      const call = readPuzzlefsWords(words)
      if (!('command' in call) || call.command !== 'mount' || call.flags.size > 0) return undefined
      const [source = '', target = ''] = call.words
      return { source, target, lists: call.values.get('options') ?? [] }
    }
    case 'fuse-overlayfs':
      // The variable asks for a log.
      if (process.env['FUSE_OVERLAYFS_DEBUG_LOG']) return undefined
      return ofOverlay(readOverlayWords(words).known)
    case 'fuse2fs':
      return undefined
    case 'mount.atomfs-fuse':
    case 'mount.fuse.atomfs-fuse': {
      const { isFake, rest } = readHelperWords(words)
      return isFake ? undefined : ofCommand(['mount', ...rest])
    }
    default:
      return ofCommand(withVerb(words))
  }
}

function ofOverlay(words: readonly PathText[]): ReturnType<typeof byName> {
  const read = readFlags('overlay', words)
  const target = read?.args.at(-1)
  if (read === undefined || target === undefined || read.args.length > 2) return undefined
  if (OWN_FLAGS.some((name) => name in read.flags)) return undefined
  return { target, lists: (read.flags['o'] as readonly string[] | undefined) ?? [] }
}

function ofCommand([verb, ...words]: readonly PathText[]): ReturnType<typeof byName> {
  if (verb === 'overlay') return ofOverlay(words)
  const read = verb === 'mount' ? readFlags(verb, words) : undefined
  const [source, target, ...others] = read?.args ?? []
  if (read === undefined || source === undefined || target === undefined || others.length > 0)
    return undefined
  if (OWN_FLAGS.some((name) => name in read.flags)) return undefined
  return { source, target, lists: (read.flags['o'] as readonly string[] | undefined) ?? [] }
}

/** The last `server=` of the lists after `-o`. */
function serverOf(lists: readonly string[]): string | undefined {
  const words = lists.flatMap((list) => list.split(','))
  return words.findLast((word) => word.startsWith('server='))?.slice('server='.length)
}
