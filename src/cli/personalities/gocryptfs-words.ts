import { type PathText, UsageError } from '../../base/index.ts'
import { splitOptions } from '../../request/index.ts'

/** What gocryptfs can do beside mounting, by options without a value. All of it writes, or is about directories that are not read. */
const OPERATIONS = ['init', 'passwd', 'fsck', 'info', 'speed', 'reverse', 'zerokey'] as const

/** Flags of the mount that have the names of ours. */
const MOUNT_FLAGS = new Set('ro allow_other dev nodev suid nosuid exec noexec'.split(' '))

/** Flags that change nothing here: of other operations, of what is always so, and of messages that are not printed. */
const WITHOUT_EFFECT = new Set(
  (
    'q quiet rw nonempty nosyslog wpanic longnames raw64 noprealloc hkdf serialize_reads sharedstorage one-file-system ' +
    'deterministic-names plaintextnames aessiv xchacha noxattr kernel_cache acl fusedebug nofail devrandom forcedecode'
  ).split(' '),
)

/** Options with a value that change nothing here. */
const VALUES_WITHOUT_EFFECT = new Set(
  'openssl badname longnamemax scryptn notifypid cpuprofile memprofile trace'.split(' '),
)

/** A command line of gocryptfs that mounts. */
export interface GocryptfsCall {
  readonly cipherDir: PathText
  readonly mountpoint: PathText
  readonly foreground: boolean
  readonly debug: boolean
  /** Options of mount, as after `-o`. */
  readonly options: readonly string[]
  /** Files whose first lines together are the password. */
  readonly passFiles: readonly PathText[]
  /** The program that prints the password, and its words; one word is split at spaces. */
  readonly passProgram: readonly string[]
}

/** What else the words may ask for. */
export type OtherGocryptfsCall = { readonly asks: 'help' | 'version' | (typeof OPERATIONS)[number] }

interface Draft {
  readonly paths: PathText[]
  readonly options: string[]
  readonly passFiles: PathText[]
  readonly passProgram: string[]
  readonly flags: Set<string>
}

/**
 * Reads the words after the name, as Go's pflag reads them there: long names behind one hyphen or two, a value behind `=` or in
 * the next word, and options of mount(8) behind `-o`.
 * @throws UsageError for what makes no sense, and for options that this program does not have
 */
export function readGocryptfsWords(given: readonly PathText[]): GocryptfsCall | OtherGocryptfsCall {
  const draft: Draft = { paths: [], options: [], passFiles: [], passProgram: [], flags: new Set() }
  const words = given.flatMap((word, i) => spelledOut(word, given[i - 1]))
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      draft.paths.push(...words.slice(at + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      draft.paths.push(word)
      continue
    }
    const [, name = '', inWord] = /^--?([^=]*)(?:=(.*))?$/s.exec(word) ?? []
    if (takeFlag(draft, name, inWord)) continue
    const value = inWord ?? words[++at]
    if (value === undefined) throw new UsageError(`option -${name} needs a value`)
    takeValue(draft, name, value)
  }
  return callOf(draft)
}

/** The words that one word stands for: `-o a,b=c` is `-a -b=c`. */
function spelledOut(word: PathText, before: PathText | undefined): readonly PathText[] {
  if (word === '-o') return []
  return before === '-o' ? splitOptions(word).map((option) => `-${option}`) : [word]
}

/** @returns whether it is an option without a value. @throws UsageError */
function takeFlag({ options, flags }: Draft, name: string, value: string | undefined): boolean {
  const isOperation = OPERATIONS.some((one) => one === name)
  const isOwn = ['f', 'fg', 'd', 'debug', 'h', 'help', 'hh', 'version'].includes(name)
  const isMount = MOUNT_FLAGS.has(name)
  if (!isOperation && !isOwn && !isMount && !WITHOUT_EFFECT.has(name)) return false
  if (value !== undefined && !/^(1|0|t|f|true|false)$/i.test(value)) {
    throw new UsageError(`option -${name}=${value}: expected true or false`)
  }
  if (/^[0f]/i.test(value ?? '')) return true
  if (isMount) options.push(name)
  else flags.add(name)
  return true
}

/** @throws UsageError */
function takeValue({ options, passFiles, passProgram }: Draft, name: string, value: string): void {
  if (name === 'passfile') passFiles.push(value)
  else if (name === 'extpass') passProgram.push(value)
  else if (name === 'ko') options.push(...splitOptions(value))
  else if (name === 'fsname' || name === 'context') options.push(`${name}=${value}`)
  else if (name === 'force_owner') options.push(...ownerOptions(value))
  else if (name === 'i' || name === 'idle') options.push(`timeout=${secondsOf(value)}`)
  else if (!VALUES_WITHOUT_EFFECT.has(name)) {
    throw new UsageError(`option -${name} is not one of this gocryptfs, which only reads`)
  }
}

function callOf({
  paths,
  options,
  passFiles,
  passProgram,
  flags,
}: Draft): GocryptfsCall | OtherGocryptfsCall {
  const has = (...names: readonly string[]): boolean => names.some((name) => flags.has(name))
  if (has('version')) return { asks: 'version' }
  const operation = OPERATIONS.find((one) => flags.has(one))
  if (operation !== undefined) return { asks: operation }
  if (has('h', 'help', 'hh') || (paths.length === 0 && flags.size === 0)) return { asks: 'help' }
  const [cipherDir, mountpoint] = paths
  if (cipherDir === undefined || mountpoint === undefined || paths.length > 2) {
    throw new UsageError(`expected CIPHERDIR and MOUNTPOINT, got ${paths.length} words`)
  }
  if (passFiles.length > 0 && passProgram.length > 0) {
    throw new UsageError('the options -extpass and -passfile both say what the password is: give one of them')
  }
  const [only = ''] = passProgram
  return {
    cipherDir,
    mountpoint,
    options,
    passFiles,
    foreground: has('f', 'fg'),
    debug: has('d', 'debug'),
    passProgram: passProgram.length === 1 ? only.split(' ') : passProgram,
  }
}

function ownerOptions(value: string): readonly string[] {
  const [, uid, gid] = /^(\d+):(\d+)$/.exec(value) ?? []
  if (uid === undefined || gid === undefined)
    throw new UsageError(`option -force_owner=${value}: expected UID:GID`)
  return [`uid=${uid}`, `gid=${gid}`]
}

const SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1 }

/** Go's form of a duration, as far as it has whole seconds: `500s`, `2h45m`, `0`. */
function secondsOf(value: string): number {
  if (!/^(0|(\d+[hms])+)$/.test(value)) throw new UsageError(`option -idle=${value}: expected 500s, or 2h45m`)
  return [...value.matchAll(/(\d+)([hms])/g)].reduce(
    (sum, [, count, unit = '']) => sum + Number(count) * (SECONDS[unit] ?? 0),
    0,
  )
}
