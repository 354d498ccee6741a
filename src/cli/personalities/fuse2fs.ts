import packageJson from '../../../package.json' with { type: 'json' }
import { FsError } from '../../base/index.ts'
import { type DaemonProcess, spawnDaemon } from '../../daemon/client/spawn.ts'
import type { Personality } from './personality.ts'
import { endedWith } from './run-command.ts'
import { readSquashfuseWords, type SquashfuseCall } from './squashfuse-words.ts'

/** The version of fuse2fs whose options are understood. */
const LIKE_VERSION = '1.47.0'

/** The exit code of every failure. */
const FAILED = 1

/** `fuse2fs [-f] [-d] [-o OPTIONS] FILE MOUNTPOINT`: mounts one ext2, ext3 or ext4 file system, for reading. */
export const fuse2fs: Personality = {
  names: ['fuse2fs'],
  run: async (words) => {
    // Its words are those of squashfuse: libfuse reads them for both.
    const call = readSquashfuseWords(words)
    if (!('archive' in call)) {
      process.stderr.write(help(packageJson.version))
      return FAILED
    }
    const early = call.foreground ? undefined : spawnDaemon([call.archive, call.mountpoint])
    return await endedWith(early, await run(call, early))
  },
}

async function run(call: SquashfuseCall, early: DaemonProcess | undefined): Promise<number> {
  const [{ buildMountRequest, parseFuse2fsOptions, preloadedOffset }, { serve }, { parseSource }] =
    await Promise.all([
      import('../../request/index.ts'),
      import('../commands/mount.ts'),
      import('../../molecule/source.ts'),
    ])
  const { archive, mountpoint, foreground, debug, unknown } = call
  try {
    if (unknown !== undefined) throw new FsError('EINVAL', `unknown option '${unknown}'`)
    const offset = preloadedOffset(archive, process.env)
    const parsed = parseFuse2fsOptions(offset === undefined ? call.lists : [...call.lists, offset])
    const source = parseSource(archive)
    const isFile = source.container === 'file' || (source.container === 'sif' && parsed.offset !== undefined)
    if (!isFile)
      throw new FsError('EINVAL', `${archive}: no file system begins at its first byte: give -o offset=N`)
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
    const { formatFailure } = await import('../print/failure.ts')
    process.stderr.write(formatFailure(error))
    return FAILED
  }
}

function help(ownVersion: string): string {
  return `fuse2fs ${LIKE_VERSION} (atomfs-fuse ${ownVersion})

Usage: fuse2fs [options] FILE MOUNTPOINT

    -o ro                  needed: this program only reads
    -o offset=N            offset N bytes into FILE to mount
    -o uid=N, -o gid=N     set file owner, file group
    -o allow_other         allow access by other users
    -d   -o debug          enable debug output (implies -f)
    -f                     foreground operation
`
}
