import type { PathText } from '../../base/index.ts'

/** The options of a command: long names by letters, and what takes a value. */
interface Grammar {
  /** Words that are no options, by the names that usage has for them. */
  readonly words: readonly string[]
  readonly flags: Readonly<Record<string, string>>
  readonly values: Readonly<Record<string, string>>
}

/** The commands of puzzlefs. */
const COMMANDS = {
  mount: {
    words: ['OCIDIR:TAG', 'MOUNTPOINT'],
    flags: { f: 'foreground', w: 'writable' },
    values: { i: 'init-pipe', o: 'options', d: 'digest', p: 'persist' },
  },
  umount: { words: ['MOUNTPOINT'], flags: {}, values: {} },
  build: { words: ['ROOTFS', 'OCIDIR:TAG'], flags: { c: 'compression' }, values: { b: 'base-layer' } },
  extract: { words: ['OCIDIR:TAG', 'DIR'], flags: {}, values: {} },
  'enable-fs-verity': { words: ['OCIDIR:TAG', 'DIGEST'], flags: {}, values: {} },
} as const satisfies Readonly<Record<string, Grammar>>

export type PuzzlefsCommand = keyof typeof COMMANDS

/** A command line of puzzlefs. */
export interface PuzzlefsCall {
  readonly command: PuzzlefsCommand
  /** As many as the command has. */
  readonly words: readonly PathText[]
  /** Long names. */
  readonly flags: ReadonlySet<string>
  /** By long names, each in the order in which it was given. */
  readonly values: ReadonlyMap<string, readonly string[]>
}

/** What else the words may ask for, or why they make no sense. */
export type OtherCall = { readonly asks: 'help' | 'version' } | { readonly wrong: string }

/** One line a command, for `--help` and for words that make no sense. */
export function puzzlefsUsage(): string {
  const lines = Object.entries<Grammar>(COMMANDS).map(([name, { words, flags, values }]) => {
    const options = [
      ...Object.entries(flags).map(([letter, long]) => `[-${letter}|--${long}]`),
      ...Object.entries(values).map(([letter, long]) => `[-${letter}|--${long} VALUE]`),
    ]
    return `  puzzlefs ${[name, ...options, ...words].join(' ')}\n`
  })
  return `Usage:\n${lines.join('')}`
}

/** Reads the words after the name as puzzlefs does. */
export function readPuzzlefsWords([name = '', ...words]: readonly PathText[]): PuzzlefsCall | OtherCall {
  if (name === '-h' || name === '--help' || name === 'help') return { asks: 'help' }
  if (name === '-V' || name === '--version') return { asks: 'version' }
  if (!isCommand(name))
    return { wrong: name === '' ? 'no command given' : `unrecognized subcommand '${name}'` }
  const grammar: Grammar = COMMANDS[name]
  const call = { words: [] as PathText[], flags: new Set<string>(), values: new Map<string, string[]>() }
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      call.words.push(...words.slice(at + 1))
      break
    }
    if (word === '--help') return { asks: 'help' }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=')
      const long = word.slice(2, equals < 0 ? undefined : equals)
      if (equals < 0 && Object.values(grammar.flags).includes(long)) call.flags.add(long)
      else if (!Object.values(grammar.values).includes(long))
        return { wrong: `unexpected argument '${word}'` }
      else {
        const value = equals < 0 ? words[++at] : word.slice(equals + 1)
        if (value === undefined) return { wrong: `a value is required for '--${long}'` }
        add(call.values, long, value)
      }
    } else if (word.startsWith('-') && word !== '-') {
      for (let letter = 1; letter < word.length; letter++) {
        const short = word[letter] ?? ''
        const [flag, long] = [grammar.flags[short], grammar.values[short]]
        if (short === 'h') return { asks: 'help' }
        if (flag !== undefined) call.flags.add(flag)
        else if (long === undefined) return { wrong: `unexpected argument '-${short}'` }
        else {
          const rest = word.slice(letter + 1).replace(/^=/, '')
          const value = rest === '' ? words[++at] : rest
          if (value === undefined) return { wrong: `a value is required for '-${short}'` }
          add(call.values, long, value)
          break
        }
      }
    } else call.words.push(word)
  }
  const { length } = grammar.words
  if (call.words.length !== length) {
    return {
      wrong: `${name} takes ${length === 1 ? 'one word' : `${length} words`}: ${grammar.words.join(' ')}`,
    }
  }
  return { command: name, ...call }
}

function isCommand(name: string): name is PuzzlefsCommand {
  return Object.hasOwn(COMMANDS, name)
}

function add(values: Map<string, string[]>, long: string, value: string): void {
  values.set(long, [...(values.get(long) ?? []), value])
}
