import { FsError, isErrno, UsageError } from '../../base/index.ts'
import { startDaemon } from '../../daemon/client/start-daemon.ts'
import { umount } from '../../daemon/client/umount.ts'
import { isOverlay, parseSource, sourceOfContainer } from '../../molecule/source.ts'
import {
  buildMountRequest,
  buildOverlayRequest,
  type MountRequest,
  parseFuse2fsOptions,
  parseGocryptfsOptions,
  parseSquashfuseOptions,
} from '../../request/index.ts'
import { anchoredPath } from '../../sys/files/working-directory.ts'
import { assertPaths } from '../atomfs/index.ts'
import { unlockSource } from '../keys/index.ts'
import { DRIVER_FEATURE } from './constants.ts'
import type { DriverParams, ImageDriver, MountParams } from './driver-types.ts'

/** Flags of mount(2) (include/uapi/linux/mount.h), and the words for them. */
const FLAGS = [
  [1, 'ro'],
  [2, 'nosuid'],
  [4, 'nodev'],
  [8, 'noexec'],
] as const

/** File systems that need `MountParams.key`. */
const KEYED = ['encryptfs', 'gocryptfs']

/**
 * Mounts through this program, a process for each mount. It asks the engine for no mount, so it needs no rights but those
 * of FUSE.
 */
export class ServerDriver implements ImageDriver {
  async mount(params: MountParams): Promise<void> {
    const { source, target } = params
    assertPaths({ source, target })
    const request = requestOf(params)
    if (KEYED.includes(params.filesystem) && !isOverlay(request.source)) {
      await unlockSource({ source: request.source, passphrase: params.key })
    }
    await startDaemon(request)
  }

  async start(_params: DriverParams): Promise<void> {}

  async stop(target: string): Promise<void> {
    assertPaths({ target })
    if (target === '') return
    try {
      await umount(anchoredPath(target), { lazy: false })
    } catch (error) {
      // The engine has unmounted it.
      if (!isErrno(error, 'EINVAL', 'ENOENT')) throw error
    }
  }

  features(): number {
    return DRIVER_FEATURE.IMAGE | DRIVER_FEATURE.OVERLAY
  }
}

/** @throws FsError EOPNOTSUPP for a file system that is not mounted here; UsageError for options that make no sense */
function requestOf(params: MountParams): MountRequest {
  const { source, target, filesystem, flags = 0, offset = 0, fsOptions = [] } = params
  const words = [...fsOptions, ...FLAGS.flatMap(([bit, word]) => ((flags & bit) === 0 ? [] : [word]))]
  if (filesystem === 'overlay') return buildOverlayRequest({ lists: words, target }).request
  const at = offset === 0 ? [] : [`offset=${offset}`]
  if (filesystem === 'squashfs' || filesystem === 'encryptfs') {
    const { parsed, refused } = parseSquashfuseOptions([...words, ...at], 'squashfuse_ll')
    if (refused !== undefined) throw refused.error
    return imageRequest(source, target, parsed)
  }
  if ((filesystem === 'ext3' || filesystem === 'gocryptfs') && !words.includes('ro')) {
    const way = 'mount it with MS_RDONLY, and keep changes in an overlay above it'
    throw new FsError('EROFS', `${source}: ${filesystem} is only read: ${way}`)
  }
  if (filesystem === 'gocryptfs') {
    const parsed = parseGocryptfsOptions(words)
    return buildMountRequest({ source: sourceOfContainer(filesystem, source), name: source, target, parsed })
  }
  if (filesystem === 'ext3') {
    return imageRequest(source, target, parseFuse2fsOptions([...words, ...at]))
  }
  throw new FsError(
    'EOPNOTSUPP',
    `${source}: this driver mounts no file system ${JSON.stringify(filesystem)}`,
  )
}

function imageRequest(
  source: string,
  target: string,
  parsed: ReturnType<typeof parseFuse2fsOptions>,
): MountRequest {
  const read = parseSource(source)
  if (read.container !== 'file' && read.container !== 'sif') {
    throw new UsageError(`${source} is no image file`)
  }
  return buildMountRequest({ source: read, name: source, target, parsed })
}
