/**
 * Mounts and unmounts OCI images, with the names of atomfs.
 * @module atomfs-fuse
 */

import { join } from 'node:path'
import { omitUndefined, type PathText } from './base/index.ts'
import { startDaemon } from './daemon/client/start-daemon.ts'
import {
  type AtomDescriptor,
  assertPaths,
  type MountOciOptions,
  metadataPathOf,
  readAtoms,
  umount,
} from './library/atomfs/index.ts'
import { prepareSource } from './library/prepare.ts'
import { inspectSource, isPrepared, type LayerReport, ociSource } from './molecule/index.ts'
import { buildMountRequest, parseMountOptions } from './request/index.ts'

export {
  DamageError,
  type ErrnoCode,
  FsError,
  type ImageSummary,
  type NamedSource,
  type PathText,
  UsageError,
} from './base/index.ts'
export {
  Bundle,
  type BundleRequest,
  createBundle,
  type RuntimeSpec,
  type SpecOptions,
} from './bundle/index.ts'
export {
  type ContentsRequest,
  type ExtractListener,
  type ExtractReport,
  type ExtractRequest,
  extractSource,
  type Owners,
} from './contents/index.ts'
export type {
  DriverName,
  LayerState,
  LayerStatus,
  MountStatus,
  ServerStats,
  UpperStatus,
} from './daemon/client/control-client.ts'
export {
  checkExt3Header,
  checkSquashfsHeader,
  DRIVER_FEATURE,
  type DriverParams,
  getDriver,
  getSquashfsComp,
  IMAGE_TYPE,
  IMAGE_USAGE,
  Image,
  type ImageDriver,
  ImageError,
  type ImageFault,
  type ImageFields,
  type ImageJson,
  initImage,
  isReadOnlyFilesystem,
  isUnknownFormat,
  type MountedRoot,
  type MountFunction,
  type MountParams,
  newPartitionReader,
  newSectionReader,
  ReadOnlyImageError,
  ROOT_FS,
  registerDriver,
  resolvePath,
  type Section,
  SIF_DESC_INSPECT_METADATA_JSON,
  SIF_DESC_OCI_CONFIG_JSON,
} from './library/apptainer/index.ts'
export {
  type AtomDescriptor,
  atomsPath,
  ensureDir,
  getMountNamespaceName,
  type MountOciOptions,
  mountStatus,
  OVERLAY_MOUNT_OPTIONS,
  pathExists,
  replacePathSeparators,
  runtimeDir,
  TEST_OVERRIDE_RUNTIME_DIR_KEY,
  umount,
  umountWithMetadir,
  writeToFile,
} from './library/atomfs/index.ts'
export {
  CachingBundler,
  type CachingBundlerOptions,
  CachingLayerResolver,
  defaultNewOverlayMount,
  type ImageLayer,
  type ImageLayers,
  type LayerResolver,
  type LayerResolverOptions,
  LayerWorkdir,
  type Mount,
  type NewLayerWorkdirOption,
  type NewOverlayMountFn,
  type OverlayDirectories,
  OverlayMount,
  openImageLayers,
  type RuntimeSpecOption,
  RuntimeSpecWriter,
  supported,
  TarballApplicator,
  type WorkDirOptions,
  withCpuLimit,
  withHostNetwork,
  withImageConfig,
  withMemoryLimit,
  withNewOverlayMountFn,
  withRootFs,
  withSpecOptions,
  withUser,
} from './library/bundle/index.ts'
export { type UnlockRequest, unlockSource, wipeKeys } from './library/keys/index.ts'
export { type PrepareOptions, prepareSource } from './library/prepare.ts'
export type { ApplyCounts } from './make/index.ts'
export { ExcludePaths } from './make/selection/exclude-paths.ts'
export {
  type DamageReport,
  type DirectoryReport,
  type InspectReport,
  inspectSource,
  type LayerReport,
  type LayerVerdict,
  ociSource,
  type VerifyProgress,
  type VerifyReport,
  type VerifyRequest,
  type VerityReport,
  verifySource,
} from './molecule/index.ts'

/** An image that is known to be mountable, as atomfs' `Molecule`. */
export class Molecule {
  /** The layers as the manifest describes them, topmost first: the order of overlayfs and of atomfs. */
  readonly atoms: readonly AtomDescriptor[]
  readonly #options: MountOciOptions
  #layers: readonly LayerReport[] | undefined

  constructor(options: MountOciOptions, atoms: readonly AtomDescriptor[], layers?: readonly LayerReport[]) {
    this.#options = options
    this.atoms = atoms
    this.#layers = layers
  }

  /**
   * What is in the layers, bottom first: the order of the manifest.
   * @throws FsError ENOENT for a layer in an archive that has not been indexed: `prepareSource` does it, and `mount`
   */
  get layers(): readonly LayerReport[] {
    this.#layers ??= inspectSource(ociSource(this.#options.ociDir, this.#options.tag)).layers
    return this.#layers
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
  async mount(target: PathText = this.#options.target): Promise<readonly string[]> {
    assertPaths({ target })
    const { ociDir, tag, allowMissingVerityData, metadataDir } = this.#options
    const { writeableOverlayPath, addWriteableOverlay = writeableOverlayPath !== undefined } = this.#options
    const source = ociSource(ociDir, tag)
    await prepareSource(source)
    const request = buildMountRequest({
      source,
      name: tag === '' ? `oci:${ociDir}` : `oci:${ociDir}:${tag}`,
      target,
      allowMissingVerity: allowMissingVerityData,
      writable: addWriteableOverlay,
      persist: addWriteableOverlay && writeableOverlayPath ? writeableOverlayPath : undefined,
      metadataDir: metadataDir || undefined,
      parsed: parseMountOptions([]),
    })
    return await startDaemon(request)
  }

  /** Unmounts and waits until the process has ended. @returns warnings, one line each. @throws FsError EINVAL, EBUSY */
  async umount(target: PathText = this.#options.target): Promise<readonly string[]> {
    return await umount(target, this.#options.metadataDir)
  }
}

/**
 * Reads an image as far as is needed to mount it.
 * @throws FsError with one line: ENOENT, EIO for damage, EOPNOTSUPP for what cannot be mounted; UsageError for options
 *   that are missing or make no sense
 */
export function buildMoleculeFromOci(options: MountOciOptions): Molecule {
  const { ociDir, tag, target, writeableOverlayPath, metadataDir } = options
  assertPaths({ ociDir, tag, target, ...omitUndefined({ writeableOverlayPath, metadataDir }) })
  const source = ociSource(ociDir, tag)
  const layers = isPrepared(source) ? inspectSource(source).layers : undefined
  return new Molecule(options, readAtoms(ociDir, tag), layers)
}
