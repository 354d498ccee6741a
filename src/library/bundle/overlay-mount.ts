import { join } from 'node:path'
import { complaintOf, type PathText, UsageError } from '../../base/index.ts'
import { startDaemon } from '../../daemon/client/start-daemon.ts'
import { umount } from '../../daemon/client/umount.ts'
import { buildOverlayRequest } from '../../request/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/** Something that can be mounted, and unmounted again. */
export interface Mount {
  /** @throws FsError why there is no mount; then nothing of it is left */
  mount(): Promise<void>
  /** @throws FsError EINVAL where nothing is mounted, EBUSY while files are open */
  unmount(): Promise<void>
}

/** The directories of an overlay. */
export interface OverlayDirectories {
  readonly mountpoint: PathText
  /** Bottom first, as an image has its layers. */
  readonly lower: readonly PathText[]
  /** Takes changes. */
  readonly upper: PathText
  /** An empty directory on the file system of `upper`. */
  readonly work: PathText
}

/** An overlay of directories, mounted by this program: as root, in a user namespace and as a plain user. */
export class OverlayMount implements Mount, OverlayDirectories {
  readonly mountpoint: PathText
  readonly lower: readonly PathText[]
  readonly upper: PathText
  readonly work: PathText

  /** @throws UsageError for what is no path */
  constructor({ mountpoint, lower, upper, work }: OverlayDirectories) {
    for (const [name, path] of [
      ...Object.entries({ mountpoint, upper, work }),
      ...lower.map((path) => ['lower', path] as const),
    ]) {
      const complaint = complaintOf(name, path)
      if (complaint !== undefined) throw new UsageError(complaint)
    }
    if (lower.length === 0) throw new UsageError('lower: an overlay has at least one lower directory')
    this.mountpoint = mountpoint
    this.lower = lower
    this.upper = upper
    this.work = work
  }

  /** Mounts in a process of its own and resolves when the mount serves. @throws FsError, UsageError as `overlay` */
  async mount(): Promise<void> {
    const lowers = this.lower.toReversed().map((path) => escapeColon(absolutePath(path)))
    const words = {
      lowerdir: lowers.join(':'),
      upperdir: escapeColon(absolutePath(this.upper)),
      workdir: escapeColon(absolutePath(this.work)),
    }
    const list = Object.entries(words).map(([name, value]) => `${name}=${escapeComma(value)}`)
    const { request } = buildOverlayRequest({
      target: absolutePath(this.mountpoint),
      lists: [list.join(',')],
    })
    await startDaemon(request)
  }

  /** Unmounts, and waits until the process has ended. @throws FsError EINVAL, EBUSY */
  async unmount(): Promise<void> {
    await umount(absolutePath(this.mountpoint), { lazy: false })
  }
}

/** As `splitLowers` takes it apart. */
function escapeColon(path: PathText): string {
  return path.replace(/[\\:]/g, '\\$&')
}

/** As `splitOverlayOptions` takes it apart. */
function escapeComma(value: string): string {
  return value.replace(/[\\,"]/g, '\\$&')
}

/** Names in the directory of a `LayerWorkdir`. */
export const WORKDIR = { merged: 'merged', upper: 'upper', lower: 'lower', work: 'work' } as const

/** Makes the mount of a `LayerWorkdir`. @param parentLayerPaths bottom first */
export type NewOverlayMountFn = (path: PathText, parentLayerPaths: readonly PathText[]) => Mount

/** The mount that a `LayerWorkdir` has by default: an overlay of this program. Without parents it has an empty layer. */
export function defaultNewOverlayMount(path: PathText, parentLayerPaths: readonly PathText[]): OverlayMount {
  return new OverlayMount({
    mountpoint: join(path, WORKDIR.merged),
    lower: parentLayerPaths.length === 0 ? [join(path, WORKDIR.lower)] : parentLayerPaths,
    upper: join(path, WORKDIR.upper),
    work: join(path, WORKDIR.work),
  })
}
