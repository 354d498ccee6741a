import { chmodSync, chownSync, mkdirSync, mkdtempSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { complaintOf, type PathText, systemPath, UsageError, withFsError } from '../../base/index.ts'
import { Folder } from '../../sys/files/folder.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { defaultNewOverlayMount, type Mount, type NewOverlayMountFn, WORKDIR } from './overlay-mount.ts'

/** How a `LayerWorkdir` is made. */
export interface WorkDirOptions {
  readonly newOverlayMount: NewOverlayMountFn
}

/** Changes how a `LayerWorkdir` is made; one that is given later counts more. */
export type NewLayerWorkdirOption = (options: WorkDirOptions) => WorkDirOptions

/** Another mount than the one of this program. */
export function withNewOverlayMountFn(newOverlayMount: NewOverlayMountFn): NewLayerWorkdirOption {
  return (options) => ({ ...options, newOverlayMount })
}

const PERMISSIONS = 0o7777

/**
 * A directory in which a layer is made by what is done in an overlay of the layers below it: who applies an archive at
 * `applyPath` finds the layer at `resultPath`, with the whiteouts that its deletions have become.
 */
export class LayerWorkdir {
  /** Of the directory, absolute. */
  readonly path: PathText
  readonly #mount: Mount

  private constructor(path: PathText, mount: Mount) {
    this.path = path
    this.#mount = mount
  }

  /**
   * Makes the directory, `DIR/DIGEST-XXXXXX`, and mounts the overlay in it.
   * @param digest begins its name: letters, digits, `_`, `.`, `-`, `:`
   * @param parentLayerPaths directories of the layers below, bottom first
   * @throws FsError as the mount, and what the system says of `dir`; UsageError. Nothing is left then
   */
  static async make(
    dir: PathText,
    digest: string,
    parentLayerPaths: readonly PathText[],
    ...options: readonly NewLayerWorkdirOption[]
  ): Promise<LayerWorkdir> {
    const complaint = complaintOf('dir', dir)
    if (complaint !== undefined) throw new UsageError(complaint)
    if (!/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}$/.test(digest)) {
      throw new UsageError(
        `digest ${JSON.stringify(digest)}: letters, digits, '_', '.', '-' and ':' are needed`,
      )
    }
    const { newOverlayMount } = options.reduce<WorkDirOptions>((made, option) => option(made), {
      newOverlayMount: defaultNewOverlayMount,
    })
    const folder = absolutePath(dir)
    const path = withFsError(folder, () => {
      mkdirSync(systemPath(folder), { recursive: true, mode: 0o700 })
      return mkdtempSync(join(folder, `${digest}-`))
    })
    try {
      for (const name of Object.values(WORKDIR)) {
        withFsError(path, () => mkdirSync(join(path, name), { mode: name === WORKDIR.work ? 0o700 : 0o755 }))
      }
      const top = parentLayerPaths.at(-1)
      if (top !== undefined) likeRoot(join(path, WORKDIR.upper), top)
      const mount = newOverlayMount(path, parentLayerPaths)
      await mount.mount()
      return new LayerWorkdir(path, mount)
    } catch (error) {
      removeWorkdir(path)
      throw error
    }
  }

  /** Where the layer is applied: the merged directory. */
  get applyPath(): PathText {
    return join(this.path, WORKDIR.merged)
  }

  /** The layer that comes of it: the upper directory. Who wants to keep it moves it away before `cleanup`. */
  get resultPath(): PathText {
    return join(this.path, WORKDIR.upper)
  }

  /** Unmounts, and removes what is left of the directory. @throws FsError EBUSY while files are open */
  async cleanup(): Promise<void> {
    await this.#mount.unmount()
    removeWorkdir(this.path)
  }
}

/** The root of a merge has the attributes of its upper directory. */
function likeRoot(upper: PathText, parent: PathText): void {
  withFsError(parent, () => {
    const { mode, uid, gid } = statSync(systemPath(parent))
    if (effectiveUid() === 0) chownSync(upper, uid, gid)
    chmodSync(upper, mode & PERMISSIONS)
  })
}

function removeWorkdir(path: PathText): void {
  const folder = Folder.open(dirname(path), { guarded: false })
  try {
    folder.remove(basename(path))
  } finally {
    folder.close()
  }
}
