import { bashScript } from './bash.ts'
import { fishScript } from './fish.ts'
import { type DescribedProgram, describeProgram } from './model.ts'
import { SHELLS } from './shells.ts'
import { zshScript } from './zsh.ts'

export type { ArgumentKind, DescribedCommand, DescribedProgram, WordRow } from './model.ts'
export { SHELLS }

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const

/** The text to be sourced by a shell, with all commands and options of this version. */
export function completionScript(shell: (typeof SHELLS)[number], program: DescribedProgram): string {
  return SCRIPTS[shell](describeProgram(program))
}
