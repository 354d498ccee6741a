import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { run } from '../../test/library/programs/process.ts'
import { findProgram } from '../../test/library/programs/tools.ts'
import { MOUNT_TIMEOUT, type Mounted, type Reader } from './reader.ts'
import { endProcesses, processesWithArgument, unmountTarget } from './teardown.ts'

/** Why a program, by name or path, cannot be run; undefined where it can. */
export function missingProgram(program: string): string | undefined {
  const isThere = program.includes('/') ? existsSync(program) : findProgram(program) !== undefined
  return isThere ? undefined : `${program} is not installed`
}

/** `squashfuse` or `squashfuse_ll` on one thread. */
export function squashfuseReader(name: string, program: string): Reader {
  return {
    name,
    missing: () => missingProgram(program),
    accepts: ({ images }, writable) => images.length === 1 && !writable,
    mount: ({ images: [image = ''] }, target) => mountSquashfuse(program, ['-s'], image, target),
  }
}

/** squashfuse_ll serves with several threads since 0.2, where it was built so. */
export function threadedSquashfuseReader(name: string, program: string): Reader {
  return {
    ...squashfuseReader(name, program),
    missing: () => {
      const version = squashfuseVersion(program)
      if (version === undefined) return `${program} is not installed`
      return version[0] === 0 && version[1] < 2 ? `squashfuse ${version.join('.')} has no threads` : undefined
    },
    mount: ({ images: [image = ''] }, target) => mountSquashfuse(program, [], image, target),
  }
}

export async function mountSquashfuse(
  program: string,
  args: readonly string[],
  image: string,
  target: string,
): Promise<Mounted> {
  await run(program, [...args, image, target], { timeout: MOUNT_TIMEOUT })
  const pids = processesWithArgument(target)
  return {
    pids,
    unmount: async () => {
      await unmountTarget(target)
      await endProcesses(pids)
    },
  }
}

function squashfuseVersion(program: string): readonly [number, number] | undefined {
  const { stdout, stderr, error } = spawnSync(program, ['-V'], { encoding: 'utf8', timeout: 10_000 })
  const match = error === undefined ? /squashfuse (\d+)\.(\d+)/.exec(stdout + stderr) : null
  return match === null ? undefined : [Number(match[1]), Number(match[2])]
}
