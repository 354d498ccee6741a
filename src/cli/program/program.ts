import { Command, CommanderError } from 'commander'
import packageJson from '../../../package.json' with { type: 'json' }
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { unlockArguments } from '../keys/unlock-arguments.ts'
import { formatFailure } from '../print/failure.ts'
import type { Called } from './called.ts'
import { COMMANDS, type CommandRow, type Flags, OPTIONS } from './command-table.ts'
import { EXAMPLES } from './examples.ts'
import { type Prepared, prepare } from './prepare.ts'

/**
 * Runs one command.
 * @param early the process for a mount in the background, where one was started already
 * @returns the exit code; errors become one line `Error: ...` on stderr and exit code 1
 */
export async function run(args: readonly string[], called: Called, early?: DaemonProcess): Promise<number> {
  let exitCode = 0
  const setExitCode = (code: number): void => {
    exitCode = code
  }
  const program = buildProgram(called, setExitCode, early)
  try {
    if (args.length === 0) throw new Error(`no command given: try '${called.name} --help'`)
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Help and version come as errors too, with exit code 0.
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    process.stderr.write(formatError(error))
    return 1
  }
}

/** The one line for an error. Commander puts its suggestions on a second line. */
export function formatError(error: unknown): string {
  if (!(error instanceof CommanderError)) return formatFailure(error)
  return formatFailure(new Error(error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ')))
}

function buildProgram(
  { name, versionLine }: Called,
  setExitCode: (code: number) => void,
  early: DaemonProcess | undefined,
): Command {
  const { version: own } = packageJson
  const program = new Command(name)
    .description('Mount OCI images made of squashfs layers through one FUSE mount, without root.')
    .version(versionLine?.(own) ?? own, '-V, --version', 'print the version')
    .option(...OPTIONS.debug)
    .helpOption('-h, --help', 'show help')
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      ['', 'Examples:', ...EXAMPLES.map(([words, text]) => `  ${name} ${words.padEnd(33)}${text}`)].join(
        '\n',
      ),
    )
  for (const row of COMMANDS) addCommand(program, row, setExitCode, early)
  return program
}

function addCommand(
  program: Command,
  row: CommandRow,
  setExitCode: (code: number) => void,
  early: DaemonProcess | undefined,
): void {
  const command = program.command(row.name).description(row.description)
  if (row.alias !== undefined) command.alias(row.alias)
  for (const argument of row.arguments) command.argument(argument)
  for (const [flags, text] of row.options) {
    if (REPEATED.test(flags)) command.option(flags, text, collect)
    else command.option(flags, text)
  }
  if (row.help !== undefined) command.addHelpText('after', row.help)
  // Commander hands over the arguments, the options and the command.
  command.action(async (...given: unknown[]) => {
    const args = given
      .slice(0, row.arguments.length)
      .flat()
      .filter((one) => typeof one === 'string')
    const { store, indexDir, ...flags } = { ...program.opts<Flags>(), ...command.opts<Flags & StoreWords>() }
    if (store !== undefined) process.env['ATOMFS_STORE'] = absolutePath(store)
    if (indexDir !== undefined) process.env['ATOMFS_INDEX_DIR'] = absolutePath(indexDir)
    const sources = row.arguments.flatMap((_, i) => (isSource(row.kinds[i]) ? (args[i] ?? []) : []))
    let prepared: Prepared = { code: 0 }
    for (const source of row.options.includes(OPTIONS.indexDir) ? sources : []) {
      prepared = await prepare(source, flags.json === true)
      if (prepared.code !== 0) return setExitCode(prepared.code)
    }
    // A mount opens what its request says, whoever made that.
    if (row.options.includes(OPTIONS.passphraseFile) && !['mount', 'overlay'].includes(row.name)) {
      await unlockArguments(row.name, sources, flags)
    }
    const { indexes } = prepared
    setExitCode(await row.run(args, indexes === undefined ? flags : { ...flags, indexes }, early))
  })
}

/** Where what is made of layers goes. */
interface StoreWords {
  readonly store?: string
  readonly indexDir?: string
}

/** Whether an argument is what a command reads, whose layers may have to be indexed. */
function isSource(kind: string | undefined): boolean {
  return kind === 'source' || kind === 'mount-or-source'
}

/** Options that may be given several times. */
const REPEATED = /^(-o|--other-options|--exclude|--key|--env|--mount) /

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value]
}
