import { runContainer } from '../../../bundle/index.ts'
import { forgetKeys } from '../../keys/unlock.ts'
import { formatWarnings } from '../../print/format.ts'
import { type ContainerFlags, containerRequest } from './container-flags.ts'

/** Runs `run`. @returns the status of the program in the container */
export async function run(
  source: string,
  command: readonly string[],
  flags: ContainerFlags,
): Promise<number> {
  return await runContainer({
    ...containerRequest(source, command, flags),
    onWarnings: (warnings) => {
      process.stderr.write(formatWarnings(warnings))
      forgetKeys()
    },
  })
}
