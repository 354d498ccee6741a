import { existsSync } from 'node:fs'
import packageJson from '../../../package.json' with { type: 'json' }
import { FsError, messageOf, type PathText, systemPath } from '../../base/index.ts'
import { type DaemonProcess, spawnDaemon } from '../../daemon/client/spawn.ts'
import type { MountOptions, SquashfuseName } from '../../request/index.ts'
import type { Personality } from './personality.ts'
import { endedWith } from './run-command.ts'
import { squashfuseHelp } from './squashfuse-help.ts'
import { readSquashfuseWords, type SquashfuseCall } from './squashfuse-words.ts'

/** Exit codes that both programs have: `sqfs_usage` and "cannot open the image". */
const USAGE = 2
const BAD_IMAGE = 255

/** Exit codes of the two programs: those of fuse_main(3), and those that ll_main.c has. */
interface FailureCodes {
  readonly option: number
  /** The mount point does not exist. */
  readonly place: number
  readonly mount: number
}

const FAILURES: Readonly<Record<SquashfuseName, FailureCodes>> = {
  squashfuse: { option: 3, place: 1, mount: 4 },
  squashfuse_ll: { option: 1, place: USAGE, mount: 1 },
}

/** `squashfuse [-f] [-d] [-s] [-o OPTIONS] ARCHIVE MOUNTPOINT`: mounts one image. */
export const squashfuse: Personality = {
  names: ['squashfuse', 'squashfuse_ll'],
  run: async (words, name) => {
    const program = name === 'squashfuse_ll' ? name : 'squashfuse'
    const call = readSquashfuseWords(words)
    const early =
      'archive' in call && !call.foreground && call.unknown === undefined
        ? spawnDaemon([call.archive, call.mountpoint])
        : undefined
    return await endedWith(early, await runSquashfuse(program, call, early))
  },
}

async function runSquashfuse(
  program: SquashfuseName,
  call: SquashfuseCall | Pick<SquashfuseCall, 'lists'>,
  early: DaemonProcess | undefined,
): Promise<number> {
  const { buildMountRequest, parseSquashfuseOptions } = await import('../../request/index.ts')
  const { parsed, refused } = parseSquashfuseOptions(call.lists, program)
  const failures = FAILURES[program]
  if (!('archive' in call))
    return await fail(parsed.options, USAGE, squashfuseHelp(program, packageJson.version))
  if (call.unknown !== undefined) {
    return await fail(parsed.options, failures.option, `Error: unknown option '${call.unknown}'\n`)
  }
  const { formatFailure } = await import('../print/failure.ts')
  if (refused !== undefined) {
    const code = refused.isOwn ? USAGE : failures.option
    return await fail(parsed.options, code, formatFailure(refused.error))
  }
  const [{ serve }, { parseSource }] = await Promise.all([
    import('../commands/mount.ts'),
    import('../../molecule/source.ts'),
  ])
  const { archive, mountpoint, foreground, debug } = call
  let source: ReturnType<typeof parseSource>
  try {
    source = parseSource(archive)
    // A SIF is a file, and its caller knows where the image begins, or we do.
    if (source.container !== 'file' && source.container !== 'sif') {
      throw new FsError(
        'EINVAL',
        `${archive} is no image file: atomfs-fuse mount ${archive} ${mountpoint} shows it`,
      )
    }
  } catch (error) {
    return await fail(parsed.options, BAD_IMAGE, formatFailure(error))
  }
  try {
    const request = buildMountRequest({
      source,
      name: archive,
      target: mountpoint,
      foreground,
      debug,
      parsed,
    })
    return await serve(request, early, { ownGroup: true })
  } catch (error) {
    // The reader of the FIFO was told by the process that failed.
    process.stderr.write(formatFailure(error))
    if (await isImagesFault(error, archive, parsed.offset)) return BAD_IMAGE
    return existsSync(systemPath(mountpoint)) ? failures.mount : failures.place
  }
}

/** Says why there is no mount, also to the FIFO. @returns the exit code */
async function fail(options: MountOptions, exitCode: number, text: string): Promise<number> {
  const { announce } = await import('../../daemon/mount/readiness.ts')
  process.stderr.write(text)
  await announce(options, false, () => undefined)
  return exitCode
}

/** Whether a mount failed for its image, and not for its place. Asked only then, because it opens the image again. */
async function isImagesFault(
  error: unknown,
  archive: PathText,
  offset: number | undefined,
): Promise<boolean> {
  // The process that failed tells why in words alone (overlay/merge/root.ts).
  if (/^subdir "/.test(messageOf(error))) return true
  const { inspectSource } = await import('../../molecule/index.ts')
  try {
    return inspectSource(archive, offset).notMounted !== undefined
  } catch {
    return true
  }
}
