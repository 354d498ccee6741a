import { SHELLS } from './shells.ts'

/**
 * What a shell offers for an argument: files and the tags of image layouts, files, directories, places where a mount of
 * ours is, names of the program, shells; nothing for `any`, such as a path in an image.
 */
export type ArgumentKind =
  | 'source'
  | 'file'
  | 'directory'
  | 'mount'
  | 'mount-or-source'
  | 'name'
  | 'shell'
  | 'any'

/** A row of the help for the words after `-o` (src/cli/program/option-rows.ts). */
export interface WordRow {
  /** `NAME`, `NAME=VALUE` or `NAME=one|two`. */
  readonly forms: readonly string[]
  readonly text: string
}

/** An option as commander takes it: `-f, --foreground`, `--log <file>`. */
type OptionForm = readonly [form: string, text: string]

/** What the table of commands says of one (src/cli/program/command-table.ts). */
export interface DescribedCommand {
  readonly name: string
  readonly alias?: string
  readonly description: string
  readonly arguments: readonly string[]
  /** What each of them is; the last one may be repeated where its argument may. */
  readonly kinds: readonly ArgumentKind[]
  readonly options: readonly OptionForm[]
  /** What may stand after `-o`. */
  readonly words?: readonly WordRow[]
}

/** All that is known of the program. */
export interface DescribedProgram {
  readonly name: string
  /** Its other names. */
  readonly links: readonly string[]
  /** Options that may stand before a command. */
  readonly options: readonly OptionForm[]
  readonly commands: readonly DescribedCommand[]
}

/**
 * What may follow an option or an argument. `words`: one of these. `list`: options of `-o`, with commas between.
 * `directories`: with colons between. `any`: nothing can be offered.
 */
export type Value =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'file' | 'directory' | 'directories' | 'source' | 'mount' | 'mount-or-source' }
  | { readonly kind: 'list' | 'any' }

export interface OptionModel {
  /** With their hyphens. */
  readonly flags: readonly string[]
  readonly text: string
  /** Absent: the option takes no value. */
  readonly value?: Value
}

/** A word after `-o`. */
export interface WordModel {
  readonly name: string
  readonly text: string
  /** `NAME` alone is one of its forms. */
  readonly alone: boolean
  /** Absent: the word takes no value. */
  readonly value?: Value
}

/** One command line: options in any order, arguments. */
export interface CommandModel {
  readonly names: readonly string[]
  readonly text: string
  readonly options: readonly OptionModel[]
  readonly arguments: readonly Value[]
  /** The last argument may be repeated. */
  readonly repeats: boolean
  readonly words: readonly WordModel[]
}

export interface ProgramModel {
  /** Names by which the program is called with one of the commands. */
  readonly names: readonly string[]
  /** Options that may stand before a command. */
  readonly options: readonly OptionModel[]
  readonly commands: readonly CommandModel[]
  /** Names that have one command line. */
  readonly others: readonly CommandModel[]
}

const HELP: OptionModel = { flags: ['-h', '--help'], text: 'show help' }
const VERSION: OptionModel = { flags: ['-V', '--version'], text: 'print the version' }

/** All command lines of the program, by the names that it goes by. */
export function describeProgram({ name, links, options, commands: rows }: DescribedProgram): ProgramModel {
  const commands = rows.map((row) => describeCommand(row, links))
  const mount = commands.find(({ names }) => names.includes('mount'))
  const overlay = commands.find(({ names }) => names.includes('overlay'))
  const others = [
    ...(overlay === undefined
      ? []
      : [{ ...overlay, names: ['fuse-overlayfs'], options: [...overlay.options, VERSION] }]),
    { ...SQUASHFUSE, words: mount?.words ?? [] },
  ]
  return {
    names: [name, 'atomfs'],
    options: [...options.map(describeOption), VERSION, HELP],
    commands,
    others,
  }
}

/** The options that it shows in its help (src/cli/personalities/squashfuse-help.ts), and where its arguments are. */
const SQUASHFUSE: Omit<CommandModel, 'words'> = {
  names: ['squashfuse', 'squashfuse_ll'],
  text: 'mount one squashfs file',
  options: [
    { flags: ['-o'], text: 'mount options, separated by commas', value: { kind: 'list' } },
    { flags: ['-f'], text: 'foreground operation' },
    { flags: ['-d'], text: 'enable debug output' },
    { flags: ['-s'], text: 'without effect' },
    HELP,
    VERSION,
  ],
  arguments: [{ kind: 'file' }, { kind: 'directory' }],
  repeats: false,
}

function describeCommand(row: DescribedCommand, links: readonly string[]): CommandModel {
  return {
    names: row.alias === undefined ? [row.name] : [row.name, row.alias],
    text: row.description,
    options: [...row.options.map(describeOption), HELP],
    arguments: row.kinds.map((kind) => valueOfArgument(kind, links)),
    repeats: row.arguments.at(-1)?.includes('...') === true,
    words: describeWords(row.words ?? []),
  }
}

function valueOfArgument(kind: ArgumentKind, links: readonly string[]): Value {
  if (kind === 'name') return { kind: 'words', words: links }
  return kind === 'shell' ? { kind: 'words', words: SHELLS } : { kind }
}

/** What stands for the value of an option in the table of commands. */
const PLACEHOLDERS: Readonly<Record<string, Value>> = {
  options: { kind: 'list' },
  dir: { kind: 'directory' },
  dirs: { kind: 'directories' },
  file: { kind: 'file' },
  mode: { kind: 'words', words: ['auto', 'lazy', 'eager'] },
  name: { kind: 'words', words: ['gzip', 'xz', 'lz4', 'zstd'] },
  level: { kind: 'words', words: ['error', 'warn', 'info', 'debug'] },
  owners: { kind: 'words', words: ['real', 'override', 'none'] },
}

function describeOption([form, text]: OptionForm): OptionModel {
  const flags = form.match(/--?[A-Za-z][a-z-]*/g) ?? []
  const placeholder = /<(.+)>/.exec(form)?.[1]
  if (placeholder === undefined) return { flags, text }
  return { flags, text, value: PLACEHOLDERS[placeholder] ?? { kind: 'any' } }
}

function describeWords(rows: readonly WordRow[]): readonly WordModel[] {
  const words = new Map<string, WordModel>()
  for (const { forms, text } of rows) {
    for (const form of forms) {
      const name = nameOf(form)
      const known = words.get(name)
      const alone = form === name || known?.alone === true
      const value = form === name ? known?.value : joined(known?.value, valueOfWord(form))
      words.set(name, { name, text: known?.text ?? text, alone, ...(value === undefined ? {} : { value }) })
    }
  }
  return [...words.values()]
}

function valueOfWord(form: string): Value {
  const text = form.slice(form.indexOf('=') + 1)
  if (text === 'DIR') return { kind: 'directory' }
  if (text === 'DIRS') return { kind: 'directories' }
  if (text === 'FILE') return { kind: 'file' }
  return /[A-Z]/.test(text) ? { kind: 'any' } : { kind: 'words', words: text.split('|') }
}

/** Where an option stands in two rows, all values of both. */
function joined(one: Value | undefined, other: Value): Value {
  if (one?.kind !== 'words' || other.kind !== 'words') return other
  return { kind: 'words', words: [...new Set([...one.words, ...other.words])] }
}

/** The name of a word in one of its forms. */
function nameOf(form: string): string {
  return form.replace(/=.*$/, '')
}
