import { omitUndefined, UsageError } from '../../base/index.ts'
import { isKnownOption } from './mount-options.ts'

/** What the options of an overlay name, as fuse-overlayfs and the kernel's overlayfs take them. */
export interface OverlayOptions {
  /** The topmost first. */
  readonly lowers: readonly string[]
  readonly upper?: string
  readonly work?: string
  /** For `parseMountOptions`. */
  readonly others: readonly string[]
  /** Never syncs, but leaves no sign of it: `fsync=0`. */
  readonly neverSyncs: boolean
  /** What is not done, one line each: unknown options, and options that would switch off what is always on. */
  readonly ignored: readonly string[]
}

/**
 * Options that change nothing here: caches never go stale, threads are what they are, and what is switched off by them
 * is not needed by anybody.
 */
const WITHOUT_EFFECT = new Set(
  (
    'timeout threaded fast_ino fast_ino_check plugins xino ' +
    'index metacopy nfs_export uuid debug big_writes auto_cache kernel_cache clone_fd'
  ).split(' '),
)

/** Options of fuse-overlayfs that would switch something off, and what stays on. */
const KEPT: Readonly<Record<string, string>> = {
  static_nlink: 'merged directories have one link anyway, others what they count themselves',
  noacl: 'access lists are enforced',
  noxattrs: 'extended attributes are shown and kept',
}

interface Draft {
  lowers: readonly string[]
  upper: string | undefined
  work: string | undefined
  neverSyncs: boolean
  readonly others: string[]
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
  fsync: (draft, value) => {
    if (value === '0') draft.neverSyncs = true
    else if (value !== '1') draft.others.push(`fsync=${value}`)
  },
  sync: (draft, value) => {
    if (value === '0') draft.neverSyncs = true
  },
  writeback: (draft, value) => {
    draft.others.push(`writeback=${value === '0' ? '0' : '1'}`)
  },
  ino32_t: (draft, value) => {
    if (value !== '0') draft.others.push('ino32_t')
  },
  userxattr: (draft) => {
    draft.others.push('xattr=user')
  },
  redirect_dir: (draft, value) => {
    draft.others.push(`redirect_dir=${['on', 'follow'].includes(value) ? value : 'off'}`)
  },
}

/**
 * Parses the values of all `-o` of an overlay.
 * @throws UsageError where a directory is missing that is needed
 */
export function parseOverlayOptions(lists: readonly string[]): OverlayOptions {
  const draft: Draft = {
    lowers: [],
    upper: undefined,
    work: undefined,
    neverSyncs: false,
    // Programs that store what lies in the upper expect a directory to be complete there.
    others: ['redirect_dir=off'],
    ignored: [],
  }
  for (const option of lists.flatMap(splitOverlayOptions)) applyOption(draft, option)
  const { upper, work, lowers, others, neverSyncs, ignored } = draft
  if (lowers.length === 0) throw new UsageError('no lower directory: give -o lowerdir=DIR[:DIR...]')
  if (upper !== undefined && work === undefined && !others.includes('ro')) {
    throw new UsageError('upperdir= needs workdir=DIR, on the same file system')
  }
  return {
    lowers,
    others,
    neverSyncs,
    ignored,
    ...omitUndefined({ upper, work }),
  }
}

function applyOption(draft: Draft, option: string): void {
  const equals = option.indexOf('=')
  const name = equals < 0 ? option : option.slice(0, equals)
  const value = equals < 0 ? '1' : option.slice(equals + 1)
  const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name] : undefined
  if (setter !== undefined) setter(draft, value)
  else if (WITHOUT_EFFECT.has(name)) return
  else if (Object.hasOwn(KEPT, name)) {
    if (value !== '0') draft.ignored.push(`argument ignored: ${name}: ${KEPT[name]}`)
  } else if (isKnownOption(name)) draft.others.push(escapeCommas(option))
  else draft.ignored.push(`unknown argument ignored: ${option}`)
}

/** `parseMountOptions` splits again. */
function escapeCommas(option: string): string {
  return option.replace(/[\\,]/g, '\\$&')
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
