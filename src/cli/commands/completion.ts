import { UsageError } from '../../base/index.ts'
import { completionScript, type DescribedProgram, SHELLS } from '../completion/index.ts'
import { LINK_NAMES, OWN_NAME } from './names.ts'

/**
 * Runs `completion`: prints the script of a shell.
 * @param help what `--help` shows
 * @throws UsageError for another shell
 */
export function completion(name: string, help: Pick<DescribedProgram, 'options' | 'commands'>): number {
  const shell = SHELLS.find((one) => one === name)
  if (shell === undefined) {
    throw new UsageError(`no completion for ${JSON.stringify(name)}: the shells are ${SHELLS.join(', ')}`)
  }
  process.stdout.write(completionScript(shell, { name: OWN_NAME, links: LINK_NAMES, ...help }))
  return 0
}
