import { type PathText, UsageError } from '../base/index.ts'
import { isKnownOption, MountOptionWords, nameAndValue, type ParsedMountOptions } from './mount-options.ts'

/** Words about keys: they are for the command, and no part of the mount. */
export type KeyWords = Readonly<Partial<Record<(typeof KEY_WORDS)[number], string>>>

const KEY_WORDS = ['passphrase_file', 'kdf_memory', 'kdf_time'] as const

/** What the options of an overlay name, as fuse-overlayfs and the kernel's overlayfs take them. */
export interface OverlayOptions {
  /** The topmost first. */
  readonly lowers: readonly PathText[]
  readonly upper?: PathText | undefined
  readonly work?: PathText | undefined
  /** What the options say that are the same for every mount. */
  readonly parsed: ParsedMountOptions
  /** What says how the keys of encrypted images are found, by the names of the words. */
  readonly keys: KeyWords
  /** What is not done, one line each: unknown options, and options that would switch off what is always on. */
  readonly ignored: readonly string[]
}

/**
 * Options that change nothing here: caches never go stale, threads are what they are, and what is switched off by them
 * is not needed by anybody. `noacl` lets fuse-overlayfs do without access lists where the upper has none; ours does that
 * by itself. Apptainer gives it in every call, and shows its user each line that it reads.
 */
const WITHOUT_EFFECT = new Set(
  (
    'timeout threaded fast_ino fast_ino_check plugins xino ' +
    'noacl index metacopy nfs_export uuid debug big_writes auto_cache kernel_cache clone_fd ' +
    // Of libfuse alone: the kernel lets in everybody or nobody else, and root is let in where root mounts.
    'allow_root'
  ).split(' '),
)

/** Options of fuse-overlayfs that would switch something off, and what stays on. */
const KEPT: Readonly<Record<string, string>> = {
  static_nlink: 'merged directories have one link anyway, others what they count themselves',
  noxattrs: 'extended attributes are shown and kept',
}

interface Draft {
  lowers: readonly PathText[]
  upper?: PathText
  work?: PathText
  keys: KeyWords
  readonly words: MountOptionWords
  readonly ignored: string[]
}

type Setter = (draft: Draft, value: string) => void

/** Options that are given with a value, or without, that counts as 1. */
const SETTERS: Readonly<Record<string, Setter>> = {
  lowerdir: (draft, value) => {
    draft.lowers = splitLowers(value)
  },
  upperdir: (draft, value) => {
    draft.upper = unescapeColon(value)
  },
  workdir: (draft, value) => {
    draft.work = unescapeColon(value)
  },
  fsync: ({ words }, value) => {
    if (value === '0') words.neverSync()
    else words.add('fsync', value === '1' ? 'auto' : value)
  },
  sync: ({ words }, value) => {
    if (value === '0') words.neverSync()
  },
  ino32_t: ({ words }, value) => words.showNarrowInodes(value !== '0'),
  writeback: ({ words }, value) => words.add('writeback', value === '0' ? '0' : '1'),
  userxattr: ({ words }) => words.add('xattr', 'user'),
  redirect_dir: ({ words }, value) =>
    words.add('redirect_dir', ['on', 'follow'].includes(value) ? value : 'off'),
}

/**
 * Parses the values of all `-o` of an overlay, in their order; the last word counts.
 * @throws UsageError where a directory is missing that is needed
 */
export function parseOverlayOptions(lists: readonly string[]): OverlayOptions {
  const draft: Draft = { lowers: [], keys: {}, words: new MountOptionWords(), ignored: [] }
  // Programs that store what lies in the upper expect a directory to be complete there.
  draft.words.add('redirect_dir', 'off')
  for (const word of lists.flatMap(splitOverlayOptions)) applyOption(draft, word)
  const { upper, work, lowers, keys, words, ignored } = draft
  // The root of a container is expected to run its setuid programs (fuse-overlayfs asks for `suid` then).
  const parsed = words.result({ rootRunsSetuid: true })
  if (lowers.length === 0) throw new UsageError('no lower directory: give -o lowerdir=DIR[:DIR...]')
  if (upper !== undefined && work === undefined && !parsed.options.showsOnly && parsed.ext3 === undefined) {
    throw new UsageError('upperdir= needs workdir=DIR, on the same file system')
  }
  return { lowers, upper, work, parsed, keys, ignored }
}

function applyOption(draft: Draft, word: string): void {
  const [name, value] = nameAndValue(word)
  const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name] : undefined
  const keyWord = KEY_WORDS.find((one) => one === name)
  if (setter !== undefined) setter(draft, value ?? '1')
  else if (keyWord !== undefined) {
    if (!value) throw new UsageError(`option '${name}' needs a value: ${name}=...`)
    draft.keys = { ...draft.keys, [keyWord]: value }
  } else if (WITHOUT_EFFECT.has(name)) return
  else if (Object.hasOwn(KEPT, name)) {
    if (value !== '0') draft.ignored.push(`argument ignored: ${name}: ${KEPT[name]}`)
  } else if (isKnownOption(name)) draft.words.add(name, value)
  else draft.ignored.push(`unknown argument ignored: ${word}`)
}

/**
 * Splits at commas that stand outside of quotation marks. A backslash takes a comma, a quotation mark or another
 * backslash as it is; before anything else it stays, for the lists of directories.
 */
export function splitOverlayOptions(list: string): readonly string[] {
  const words: string[] = []
  let word = ''
  let quoted = false
  for (let at = 0; at < list.length; at++) {
    const char = list.charAt(at)
    const next = list.charAt(at + 1)
    if (char === '\\' && [',', '"', '\\'].includes(next)) {
      word += next
      at++
    } else if (char === '"') quoted = !quoted
    else if (char === ',' && !quoted) {
      words.push(word)
      word = ''
    } else word += char
  }
  words.push(word)
  return words.filter((one) => one !== '')
}

/** The parts of `lowerdir`: `\:` is a colon of a name. */
function splitLowers(value: string): readonly string[] {
  const parts = value.match(/(?:\\[:\\]|[^:])+/g) ?? []
  return parts.map(unescapeColon)
}

function unescapeColon(text: string): string {
  return text.replace(/\\([:\\])/g, '$1')
}
