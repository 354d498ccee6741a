import { closeSync, constants, createReadStream, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Readable } from 'node:stream'
import { generateSquashfsMediaType } from '../../../squashfs/index.ts'
import {
  complaintOf,
  omitUndefined,
  type PathText,
  systemPath,
  UsageError,
  withFsError,
} from '../../base/index.ts'
import type { ExcludePaths } from '../../make/selection/exclude-paths.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/** How a directory becomes an image. */
export interface MakeSquashfsOptions {
  /** What is left out: paths of this machine, as they were given to `addExclude`. */
  readonly exclude?: ExcludePaths
  /** Whether the image gets a hash tree; `true` by default. */
  readonly verity?: boolean
  /** `zstd` by default, `gzip`, `xz` or `lz4`, with a level as in `zstd:19`. */
  readonly compression?: string
  /** Bytes of a data block; 131072 by default. */
  readonly blockSize?: number
  /** Folder for the image while it is made and read; that of the system by default. */
  readonly tempDir?: PathText
  /** Ends the work, which throws its reason. */
  readonly signal?: AbortSignal
}

/** An image that was made. */
export interface MadeSquashfs {
  /** Its bytes, from a file without a name: it is gone when the stream was read or destroyed. */
  readonly blob: Readable
  /** Bytes. */
  readonly size: number
  /** What a manifest calls the layer. */
  readonly mediaType: string
  /** dm-verity root hash, hex; absent without a hash tree. */
  readonly rootHash?: string
}

/**
 * Makes a squashfs image of a directory, as `atomfs-fuse pack` does: without root and without another program. The same
 * tree gives the same bytes.
 * @throws FsError ENOENT, ENOTDIR, EACCES for the directory, ENOSPC of the folder for the image, EINVAL for the block
 *   size, EOPNOTSUPP without the compressor; UsageError for options that make no sense
 */
export async function makeSquashfs(
  rootfs: PathText,
  options: MakeSquashfsOptions = {},
): Promise<MadeSquashfs> {
  const { exclude, verity = true, compression = 'zstd', blockSize = 128 << 10 } = options
  const { tempDir = tmpdir(), signal } = options
  const complaint = complaintOf('rootfs', rootfs) ?? complaintOf('tempDir', tempDir)
  if (complaint !== undefined) throw new UsageError(complaint)
  // Programs that only read images load none of it.
  const { compressionOf, packInto } = await import('../../make/index.ts')
  const settings = { ...compressionOf(compression), blockSize }
  const directory = absolutePath(rootfs)
  const folder = withFsError(tempDir, () =>
    openSync(systemPath(tempDir), constants.O_RDONLY | constants.O_DIRECTORY),
  )
  let file: UnfinishedFile | undefined
  try {
    file = UnfinishedFile.begin(folder, 'squashfs', 0o600)
    const image = await packInto(
      { fd: file.fd, label: rootfs },
      { directory },
      {
        ...settings,
        ...omitUndefined({ exclude: exclude?.below(directory), signal }),
        ...(verity && { verity: {} }),
      },
    )
    const { size, rootHash } = image
    const blob = createReadStream('', { fd: duplicateDescriptor(file.fd), start: 0 })
    const mediaType = generateSquashfsMediaType(settings.name)
    return { blob, size, mediaType, ...omitUndefined({ rootHash }) }
  } finally {
    file?.close()
    closeSync(folder)
  }
}
