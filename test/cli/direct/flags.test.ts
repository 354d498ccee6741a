import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { readFlags } from '../../../src/cli/direct/flags.ts'
import { COMMANDS } from '../../../src/cli/program/command-table.ts'

/** The reader without commander makes the same of a command line as commander, or leaves it to it. */

interface Read {
  readonly args: readonly string[]
  readonly flags: Readonly<Record<string, unknown>>
}

function readByCommander(verb: string, words: readonly string[]): Read | undefined {
  const row = COMMANDS.find(({ name }) => name === verb)!
  const command = new Command(verb).exitOverride().configureOutput({ outputError: () => undefined })
  for (const [flags] of row.options) {
    if (!flags.startsWith('-o ')) command.option(flags)
    else command.option(flags, '', (value: string, all: string[] = []) => [...all, value])
  }
  command.argument('[words...]')
  try {
    command.parse([...words], { from: 'user' })
    return { args: command.args, flags: command.opts() }
  } catch {
    return undefined
  }
}

const LINES: readonly (readonly [verb: 'mount' | 'overlay', line: string])[] = [
  ['mount', 'a b'],
  ['mount', 'a b -o ro'],
  ['mount', '-o ro -oallow_other a -o uid=me,gid=me b'],
  ['mount', '--persist p a:tag b'],
  ['mount', 'a --upper=u=v b --writable'],
  ['mount', '--allow-missing-verity --root-hash 00 --offset 4096 --verify lazy --debug a b'],
  ['mount', '--log x --log-level=debug --metadir m a b'],
  ['mount', '--log x --log y a b'],
  ['mount', '--persist= a b'],
  ['mount', '--upper -o a b'],
  ['mount', 'a b c'],
  ['overlay', '-o lowerdir=a:b t'],
  ['overlay', 's -olowerdir=a t --log-level warn --metadir=m'],
]

/** What commander has to look at: errors, help, and options of other kinds of mounts. */
const LEFT: readonly (readonly [verb: 'mount' | 'overlay', line: string])[] = [
  ['mount', 'a b -f'],
  ['mount', 'a b --foreground'],
  ['mount', '--help'],
  ['mount', '--writeable=yes a b'],
  ['mount', 'a b -o'],
  ['mount', 'a b --upper'],
  ['mount', 'a b --nonsense'],
  ['mount', '--ready-fd 3 a b'],
  ['mount', '--driver-path x a b'],
  ['mount', '-- a b'],
  ['mount', 'a -'],
  ['overlay', '-d t'],
  ['overlay', '--upper u t'],
]

describe('the words of a mount in the background', () => {
  test.each(LINES)('%s %s: the flags are those of commander', (verb, line) => {
    const words = line.split(' ')
    const read = readFlags(verb, words)
    expect(read).toEqual(readByCommander(verb, words))
    expect(read?.args.length).toBeGreaterThan(0)
  })

  test.each(LEFT)('%s %s is left to commander', (verb, line) => {
    expect(readFlags(verb, line.split(' '))).toBeUndefined()
  })

  test('every option of the commands is either read or left', () => {
    for (const verb of ['mount', 'overlay'] as const) {
      for (const [flags] of COMMANDS.find(({ name }) => name === verb)!.options) {
        const long = /--[\w-]+/.exec(flags)?.[0]
        if (long === undefined) continue
        const words = [...(flags.includes('<') ? [long, '1'] : [long]), 't']
        const read = readFlags(verb, words)
        if (read !== undefined) expect(read, flags).toEqual(readByCommander(verb, words))
      }
    }
  })
})
