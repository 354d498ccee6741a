import { mkdirSync, statSync } from 'node:fs'
import packageJson from '../../../package.json' with { type: 'json' }
import { FsError, type PathText, systemPath, withFsError } from '../../base/index.ts'
import { type DaemonProcess, spawnDaemon } from '../../daemon/client/spawn.ts'
import { puzzlefsMountFlags, writableFolders } from '../words/puzzlefs-mount.ts'
import type { Personality } from './personality.ts'
import { type PuzzlefsCall, puzzlefsUsage, readPuzzlefsWords } from './puzzlefs-words.ts'
import { endedWith } from './run-command.ts'

/** lxc-oci calls the program by this name for images whose first layer is `application/vnd.puzzlefs.image.rootfs.v1`. */
const NAME = 'puzzlefs'
/** The version of puzzlefs whose words and images are understood. */
const LIKE_VERSION = '0.2.0'
/** Exit code for words that make no sense. */
const USAGE = 2

/** `puzzlefs mount|umount|build|extract|enable-fs-verity …`, with the grammar and the meanings of the original. */
export const puzzlefs: Personality = {
  names: [NAME],
  run: async (words) => {
    const call = readPuzzlefsWords(words)
    if ('asks' in call) {
      process.stdout.write(
        call.asks === 'help'
          ? puzzlefsUsage()
          : `${NAME} ${LIKE_VERSION} (atomfs-fuse ${packageJson.version})\n`,
      )
      return 0
    }
    const wrong = 'wrong' in call ? call.wrong : conflictIn(call)
    if (wrong !== undefined || !('command' in call)) {
      process.stderr.write(`error: ${wrong}\n${puzzlefsUsage()}`)
      return USAGE
    }
    const early =
      call.command === 'mount' && !call.flags.has('foreground') ? spawnDaemon(call.words) : undefined
    return await endedWith(early, await runPuzzlefs(call, early))
  },
}

function conflictIn({ flags, values }: PuzzlefsCall): string | undefined {
  if (!flags.has('foreground')) return undefined
  const other = flags.has('writable') ? 'writable' : values.has('persist') ? 'persist' : undefined
  return other && `the argument '--foreground' cannot be used with '--${other}'`
}

/** Errors become one line on stderr, in the background too. @returns the exit code */
async function runPuzzlefs(call: PuzzlefsCall, early: DaemonProcess | undefined): Promise<number> {
  const [first = '', second = ''] = call.words
  try {
    await checkValues(call)
    switch (call.command) {
      case 'mount':
        return await mountImage(first, second, call, early)
      case 'umount': {
        const { umount } = await import('../commands/umount.ts')
        return await umount(first, {})
      }
      case 'build': {
        const { build } = await import('../commands/make/puzzlefs.ts')
        return await build(
          first,
          second,
          call.flags.has('compression'),
          call.values.get('base-layer')?.at(-1),
        )
      }
      case 'extract': {
        const { extract } = await import('../commands/extract.ts')
        return await extract(first, second, [], { quiet: true, force: true })
      }
      case 'enable-fs-verity': {
        const { enableFsVerity } = await import('../commands/enable-fs-verity.ts')
        return await enableFsVerity(first, second)
      }
    }
  } catch (error) {
    const { formatFailure } = await import('../print/failure.ts')
    process.stderr.write(formatFailure(error))
    return 1
  }
}

/** What would be refused, or told of, by other names than those that the caller knows. @throws FsError EINVAL, … */
async function checkValues({ command, words, flags, values }: PuzzlefsCall): Promise<void> {
  const pipe = flags.has('foreground') ? values.get('init-pipe')?.at(-1) : undefined
  const { absolutePath } = await import('../../sys/files/working-directory.ts')
  const notifyPipe = pipe && absolutePath(pipe)
  if (notifyPipe && !withFsError(`init pipe ${pipe}`, () => statSync(systemPath(notifyPipe))).isFIFO()) {
    throw new FsError('EINVAL', `init pipe ${pipe} is not a FIFO: make it with mkfifo`)
  }
  const digest = command === 'enable-fs-verity' ? words[1] : values.get('digest')?.at(-1)
  if (digest === undefined || /^[0-9a-fA-F]{64}$/.test(digest)) return
  const { announce } = await import('../../daemon/mount/readiness.ts')
  await announce({ notifyPipe }, false, () => undefined)
  const wrong = `digest ${JSON.stringify(digest)}: 64 hex digits are needed, as 'build' prints them`
  throw new FsError('EINVAL', wrong)
}

async function mountImage(
  source: PathText,
  target: PathText,
  call: PuzzlefsCall,
  early: DaemonProcess | undefined,
): Promise<number> {
  const { mountRequest, serve } = await import('../commands/mount.ts')
  const { anchoredPath } = await import('../../sys/files/working-directory.ts')
  const request = await mountRequest(source, target, puzzlefsMountFlags(call))
  const folders = writableFolders(anchoredPath(target), call)
  if (folders === undefined) return await serve(request, early)
  await makeFolders(request.target, [folders.upper, folders.work])
  return await serve({ ...request, changes: { kind: 'pair', ...folders } }, early)
}

/** Both lie in the mount point, which the mount will cover. @throws FsError EBUSY where one is there already */
async function makeFolders(target: PathText, folders: readonly PathText[]): Promise<void> {
  const { isMount } = await import('../../daemon/client/control-client.ts')
  if (isMount(target)) {
    throw new FsError(
      'EBUSY',
      `${target} is mounted already: unmount it first with 'puzzlefs umount ${target}'`,
    )
  }
  for (const folder of folders) {
    withFsError(folder, () => mkdirSync(systemPath(folder), { recursive: true, mode: 0o755 }))
  }
}
