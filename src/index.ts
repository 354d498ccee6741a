import { buildMountRequest } from './cli/commands/mount.ts'
import { startDaemon } from './daemon/client/start-daemon.ts'
import { umount as umountTarget } from './daemon/client/umount.ts'
import { inspectSource, type LayerReport } from './molecule/index.ts'

export { FsError } from './base/index.ts'
export type { MountStatus } from './daemon/serve/control-protocol.ts'
export { type InspectReport, inspectSource, type VerifyReport, verifySource } from './molecule/index.ts'

/** What atomfs calls `MountOCIOpts`, with the same names. */
export interface MountOciOptions {
  readonly ociDir: string
  readonly tag: string
  readonly target: string
  /** Lets the mount be changed; without a path the changes go away with it. */
  readonly addWriteableOverlay?: boolean
  /** Folder that keeps changes, in `persist`, and its work directory, in `work`; makes the mount writable by itself. */
  readonly writeableOverlayPath?: string
  /** Accepts layers without a root hash; a wrong hash is always refused. */
  readonly allowMissingVerityData?: boolean
  /** Folder for runtime data instead of `/run/atomfs`. */
  readonly metadataDir?: string
}

/** An image that is known to be mountable, as atomfs' `Molecule`. */
export class Molecule {
  /** Bottom first, as in the manifest. */
  readonly layers: readonly LayerReport[]
  readonly #options: MountOciOptions

  constructor(options: MountOciOptions, layers: readonly LayerReport[]) {
    this.#options = options
    this.layers = layers
  }

  /**
   * Mounts in a process of its own and resolves when the mount serves.
   * @param target the directory to mount on; by default the one of the options
   * @returns warnings, one line each
   * @throws FsError why there is no mount; then nothing of it is left
   */
  async mount(target: string = this.#options.target): Promise<readonly string[]> {
    const { ociDir, tag, allowMissingVerityData, metadataDir } = this.#options
    const { writeableOverlayPath, addWriteableOverlay = writeableOverlayPath !== undefined } = this.#options
    const request = buildMountRequest(`oci:${ociDir}:${tag}`, target, {
      allowMissingVerity: allowMissingVerityData ?? false,
      writeable: addWriteableOverlay,
      ...(addWriteableOverlay && writeableOverlayPath ? { persist: writeableOverlayPath } : {}),
      ...(metadataDir === undefined ? {} : { metadir: metadataDir }),
    })
    return await startDaemon(request)
  }

  /** Unmounts and waits until the process has ended. @throws FsError EINVAL, EBUSY */
  async umount(target: string = this.#options.target): Promise<void> {
    await umount(target, this.#options.metadataDir)
  }
}

/** Reads an image as far as is needed to mount it. @throws FsError with one line */
export function buildMoleculeFromOci(options: MountOciOptions): Molecule {
  return new Molecule(options, inspectSource(`oci:${options.ociDir}:${options.tag}`).layers)
}

/** Unmounts one of our mounts. @throws FsError EINVAL where nothing of ours is mounted, EBUSY while files are open */
export async function umount(target: string, metadataDir?: string): Promise<void> {
  const path = target.startsWith('/') ? target : `${process.cwd()}/${target}`
  await umountTarget(path, { lazy: false, ...(metadataDir === undefined ? {} : { metadataDir }) })
}
