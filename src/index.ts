/**
 * Mounts and unmounts OCI images, with the names of atomfs.
 * @module atomfs-fuse
 */

import { join } from 'node:path'
import { omitUndefined } from './base/index.ts'
import { startDaemon } from './daemon/client/start-daemon.ts'
import { umount as umountTarget } from './daemon/client/umount.ts'
import {
  type AtomDescriptor,
  type MountOciOptions,
  metadataPathOf,
  readAtoms,
} from './library/atomfs/index.ts'
import { inspectSource, type LayerReport, ociSource } from './molecule/index.ts'
import { buildMountRequest, parseMountOptions } from './request/index.ts'

export { DamageError, FsError, UsageError } from './base/index.ts'
export type { MountStatus } from './daemon/client/control-client.ts'
export {
  type AtomDescriptor,
  atomsPath,
  ensureDir,
  getMountNamespaceName,
  type MountOciOptions,
  OVERLAY_MOUNT_OPTIONS,
  pathExists,
  replacePathSeparators,
  runtimeDir,
  TEST_OVERRIDE_RUNTIME_DIR_KEY,
  writeToFile,
} from './library/atomfs/index.ts'
export {
  type DirectoryReport,
  type InspectReport,
  inspectSource,
  type LayerReport,
  type LayerVerdict,
  type VerifyProgress,
  type VerifyReport,
  type VerityReport,
  verifySource,
} from './molecule/index.ts'

/** An image that is known to be mountable, as atomfs' `Molecule`. */
export class Molecule {
  /** The layers as the manifest describes them, topmost first: the order of overlayfs and of atomfs. */
  readonly atoms: readonly AtomDescriptor[]
  /** What is in the layers, bottom first: the order of the manifest. */
  readonly layers: readonly LayerReport[]
  readonly #options: MountOciOptions

  constructor(options: MountOciOptions, atoms: readonly AtomDescriptor[], layers: readonly LayerReport[]) {
    this.#options = options
    this.atoms = atoms
    this.layers = layers
  }

  /**
   * The folder with the runtime data of the mount: where it is, if the molecule is mounted; else where the next mount
   * puts it. @throws FsError for the folder that holds the target
   */
  metadataPath(): string {
    return metadataPathOf(this.#options.target, this.#options.metadataDir)
  }

  /**
   * Where atomfs mounts the layers one by one: `mounts` in the folder of `metadataPath`, and `parts` below it. Here one
   * mount shows all layers, so there is never anything.
   */
  mountedAtomsPath(...parts: readonly string[]): string {
    return join(this.metadataPath(), 'mounts', ...parts)
  }

  /**
   * Mounts in a process of its own and resolves when the mount serves.
   * @param target the directory to mount on; by default the one of the options
   * @returns warnings, one line each
   * @throws FsError why there is no mount, UsageError for options that make no sense; then nothing of it is left
   */
  async mount(target: string = this.#options.target): Promise<readonly string[]> {
    const { ociDir, tag, allowMissingVerityData, metadataDir } = this.#options
    const { writeableOverlayPath, addWriteableOverlay = writeableOverlayPath !== undefined } = this.#options
    const request = buildMountRequest({
      source: ociSource(ociDir, tag),
      name: tag === '' ? `oci:${ociDir}` : `oci:${ociDir}:${tag}`,
      target,
      allowMissingVerity: allowMissingVerityData,
      writable: addWriteableOverlay,
      persist: addWriteableOverlay && writeableOverlayPath ? writeableOverlayPath : undefined,
      metadataDir,
      parsed: parseMountOptions([]),
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
  const { ociDir, tag } = options
  const source = ociSource(ociDir, tag)
  return new Molecule(options, readAtoms(ociDir, tag), inspectSource(source).layers)
}

/** Unmounts one of our mounts. @throws FsError EINVAL where nothing of ours is mounted, EBUSY while files are open */
export async function umount(target: string, metadataDir?: string): Promise<void> {
  const path = target.startsWith('/') ? target : `${process.cwd()}/${target}`
  await umountTarget(path, { lazy: false, ...omitUndefined({ metadataDir }) })
}

/** `umount` with its second argument: the name that atomfs has for it. @throws FsError as `umount` */
export async function umountWithMetadir(target: string, metadataDir: string): Promise<void> {
  await umount(target, metadataDir || undefined)
}
