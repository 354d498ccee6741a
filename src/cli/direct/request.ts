import { basename } from 'node:path'
import type { NamedSource, PathText } from '../../base/index.ts'
import { parseSource } from '../../molecule/source.ts'
import {
  buildMountRequest,
  buildOverlayRequest,
  type MountRequest,
  parseSquashfuseOptions,
} from '../../request/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { readHelperWords } from '../personalities/helper-words.ts'
import { readOverlayWords } from '../personalities/overlay-words.ts'
import { readPuzzlefsWords } from '../personalities/puzzlefs-words.ts'
import { readSquashfuseWords } from '../personalities/squashfuse-words.ts'
import { withVerb } from '../program/verb.ts'
import { commonWish, mountWish } from '../words/mount-wish.ts'
import { puzzlefsMountFlags, writableFolders } from '../words/puzzlefs-mount.ts'
import { readFlags } from './flags.ts'

/** Reads SOURCE as `parseSource` does. */
export type SourceParser = (text: PathText) => NamedSource

/** A mount in the background, and the lines that its user gets. */
export interface DirectMount {
  readonly request: MountRequest
  /** Words that were passed over. */
  readonly ignored: readonly string[]
}

/**
 * What a command line asks for, where it asks for a mount in the background that needs nothing else. The same words
 * give the same request as with the program itself (src/cli/personalities/).
 * @param program the name by which the program was called
 * @param parse reads SOURCE
 * @returns undefined where the program itself has to look at it
 * @throws UsageError, FsError, which the program itself will explain
 */
export function readDirectMount(
  program: string,
  words: readonly PathText[],
  parse: SourceParser = parseSource,
): DirectMount | undefined {
  const direct = byName(basename(program), words, parse)
  // Whoever asks for descriptors, another driver or hours of reading does not wait for a Node.
  if (direct === undefined) return undefined
  const { foreground, verify, options, target } = direct.request
  if (foreground || verify === 'eager' || options.driver !== 'builtin') return undefined
  // The answer to the launcher has a line for it.
  return target.includes('\n') ? undefined : direct
}

function byName(name: string, words: readonly PathText[], parse: SourceParser): DirectMount | undefined {
  switch (name) {
    case 'fuse-overlayfs':
      return readFuseOverlayfs(words)
    case 'squashfuse':
    case 'squashfuse_ll':
      return readSquashfuse(name, words, parse)
    case 'fuse2fs':
      return undefined
    case 'puzzlefs':
      return readPuzzlefs(words, parse)
    case 'mount.atomfs-fuse':
    case 'mount.fuse.atomfs-fuse': {
      const { isFake, rest } = readHelperWords(words)
      return isFake ? undefined : readCommand(['mount', ...rest], parse)
    }
    default:
      return readCommand(withVerb(words), parse)
  }
}

function readPuzzlefs(words: readonly PathText[], parse: SourceParser): DirectMount | undefined {
  const call = readPuzzlefsWords(words)
  if (!('command' in call) || call.command !== 'mount') return undefined
  const [source = '', target = ''] = call.words
  // What has to be made first, and what makes no sense, is for the program itself.
  if (call.flags.has('foreground') || writableFolders(target, call) !== undefined) return undefined
  const wish = mountWish(target, puzzlefsMountFlags(call))
  return { request: buildMountRequest({ ...wish, source: parse(source), name: source }), ignored: [] }
}

function readCommand([verb, ...words]: readonly PathText[], parse: SourceParser): DirectMount | undefined {
  if (verb === 'overlay') return readOverlay(words, [])
  const read = verb === 'mount' ? readFlags(verb, words) : undefined
  const [source, target, ...others] = read?.args ?? []
  if (read === undefined || source === undefined || target === undefined || others.length > 0)
    return undefined
  const { store, indexDir, ...flags } = read.flags
  // Where the indexes of the layers are: none is made here.
  if (typeof store === 'string') process.env['ATOMFS_STORE'] = absolutePath(store)
  if (typeof indexDir === 'string') process.env['ATOMFS_INDEX_DIR'] = absolutePath(indexDir)
  const wish = mountWish(target, flags)
  return { request: buildMountRequest({ ...wish, source: parse(source), name: source }), ignored: [] }
}

function readOverlay(words: readonly PathText[], unknown: readonly string[]): DirectMount | undefined {
  const read = readFlags('overlay', words)
  const target = read?.args.at(-1)
  if (read === undefined || target === undefined || read.args.length > 2) return undefined
  const { request, ignored } = buildOverlayRequest({
    ...commonWish(target, read.flags),
    lists: (read.flags['o'] as readonly string[] | undefined) ?? [],
  })
  return { request, ignored: [...unknown, ...ignored] }
}

function readFuseOverlayfs(words: readonly PathText[]): DirectMount | undefined {
  // The variable asks for a log, as options of ours do.
  if (process.env['FUSE_OVERLAYFS_DEBUG_LOG']) return undefined
  const { known, ignored } = readOverlayWords(words)
  return readOverlay(
    known,
    ignored.map((word) => `unknown argument ignored: ${word}`),
  )
}

/** What squashfuse takes: a SIF is a file, and its caller knows where the image begins, or we do. */
function isImageFile({ container }: NamedSource): boolean {
  return container === 'file' || container === 'sif'
}

function readSquashfuse(
  program: 'squashfuse' | 'squashfuse_ll',
  words: readonly PathText[],
  parse: SourceParser,
): DirectMount | undefined {
  const call = readSquashfuseWords(words)
  if (!('archive' in call) || call.foreground || call.unknown !== undefined) return undefined
  const { parsed, refused } = parseSquashfuseOptions(call.lists, program)
  const source = parse(call.archive)
  if (refused !== undefined || !isImageFile(source)) return undefined
  const { archive, mountpoint, debug } = call
  const request = buildMountRequest({
    source,
    name: archive,
    target: mountpoint,
    foreground: false,
    debug,
    parsed,
  })
  return { request, ignored: [] }
}
