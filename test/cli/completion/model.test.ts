import { describe, expect, test } from 'vitest'
import { LINK_NAMES, OWN_NAME } from '../../../src/cli/commands/names.ts'
import { completionScript, SHELLS } from '../../../src/cli/completion/index.ts'
import { describeProgram } from '../../../src/cli/completion/model.ts'
import { squashfuseHelp } from '../../../src/cli/personalities/squashfuse-help.ts'
import { COMMANDS, OPTIONS } from '../../../src/cli/program/command-table.ts'
import { COMMAND_ROWS, MOUNT_ROWS, nameOf, OVERLAY_ROWS } from '../../../src/cli/program/option-rows.ts'
import { MOUNT_WORDS } from '../../../src/cli/words/mount-words.ts'
import { isKnownOption, parseMountOptions } from '../../../src/request/mount-options.ts'
import { FLAGS, SETTERS } from '../../../src/request/option-table.ts'
import { parseOverlayOptions } from '../../../src/request/overlay-options.ts'
import { parseVerifyMode } from '../../../src/request/values.ts'

const described = { name: OWN_NAME, links: LINK_NAMES, options: [OPTIONS.debug], commands: COMMANDS }
const program = describeProgram(described)

describe('what is said of options after -o', () => {
  const names = MOUNT_ROWS.flatMap(({ forms }) => forms.map(nameOf))

  test('the help of mount has every option that is parsed, but one that is always refused', () => {
    const parsed = [...Object.keys(FLAGS), ...Object.keys(SETTERS)].filter((name) => name !== 'allow_root')
    expect(parsed.filter((name) => !names.includes(name))).toEqual([])
  })

  test('every option in the help of mount is parsed', () => {
    // A remount is no option of a mount (src/cli/commands/mount.ts).
    expect(names.filter((name) => name !== 'remount' && !isKnownOption(name))).toEqual([])
  })

  test('the help of mount has the words that stand for options of the command', () => {
    expect(COMMAND_ROWS.flatMap(({ forms }) => forms.map(nameOf)).sort()).toEqual([...MOUNT_WORDS].sort())
  })

  test('every value that is offered is taken', () => {
    const { words } = program.commands.find((command) => command.names.includes('mount'))!
    const offered = words.flatMap(({ name, alone, value }) => [
      ...(alone ? [name] : []),
      ...(value?.kind === 'words' ? value.words.map((word) => `${name}=${word}`) : []),
    ])
    expect(offered.length).toBeGreaterThan(50)
    const others = ['remount', ...MOUNT_WORDS]
    for (const option of offered.filter((one) => !others.includes(nameOf(one)))) parseMountOptions([option])
  })

  test('every option that is offered for an overlay has an effect', () => {
    const { words } = program.commands.find((command) => command.names.includes('overlay'))!
    expect(OVERLAY_ROWS.flatMap(({ forms }) => forms.map(nameOf))).toContain('lowerdir')
    for (const { name, value } of words.filter((word) => word.value?.kind === 'words')) {
      for (const word of value?.kind === 'words' ? value.words : []) {
        const { ignored } = parseOverlayOptions(['lowerdir=/', `${name}=${word}`])
        expect(ignored, `${name}=${word}`).toEqual([])
      }
    }
  })
})

describe('the commands', () => {
  test('each argument of a command has a kind', () => {
    for (const row of COMMANDS) expect(row.kinds.length, row.name).toBe(row.arguments.length)
  })

  test('an option takes a value where its form says so', () => {
    const options = program.commands.flatMap((command) => command.options)
    const verify = options.find(({ flags }) => flags.includes('--verify'))!
    expect(verify.value).toEqual({ kind: 'words', words: ['auto', 'lazy', 'eager'] })
    for (const mode of ['auto', 'lazy', 'eager']) parseVerifyMode(mode)
    expect(options.find(({ flags }) => flags.includes('-f'))).toEqual({
      flags: ['-f', '--foreground'],
      text: expect.any(String),
    })
  })

  test('the flags of squashfuse are those of its help', () => {
    const { options } = program.others.find((command) => command.names.includes('squashfuse'))!
    const help = squashfuseHelp('squashfuse', '0')
    const flags = new Set(help.match(/(?<=\s)--?[a-zA-Z]+/g))
    expect(new Set(options.flatMap((option) => option.flags))).toEqual(flags)
  })

  test.each(SHELLS)('the script for %s has each command and each option', (shell) => {
    const script = completionScript(shell, described)
    const words = program.commands.flatMap((command) => [
      ...command.names,
      ...command.options.flatMap(({ flags }) => flags.map((flag) => flag.replace(/^-+/, ''))),
    ])
    expect(words.filter((word) => !script.includes(word))).toEqual([])
    expect(script).not.toMatch(/@[A-Z]+@|undefined|\$\\\{/)
  })
})
