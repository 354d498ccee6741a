/**
 * Wires one mount together. Only the files of `src/molecule/` know OCI, verity, squashfs and the merge at the
 * same time; everything above sees this list.
 */

export type { IdRange, IdRule, RecordOwners, UpperPolicy } from '../../overlay/index.ts'
export { NarrowInodes } from '../../overlay/index.ts'
export {
  type CodecReport,
  listCodecs,
  type PackageNeed,
  packageNeed,
  refusePackages,
} from '../codecs/index.ts'
export { knownContainers } from '../kinds/containers.ts'
export { ociSource } from '../oci/index.ts'
export {
  adoptIndexes,
  type ConvertedLayer,
  collectStore,
  heldIndexes,
  INDEX_DIR_VARIABLE,
  type LayerMakers,
  listStore,
  type PrepareOptions,
  removeStored,
  STORE_VARIABLE,
  type StoredLayer,
} from '../store/index.ts'
export { blobCount, Patience } from '../transforms/index.ts'
export { type AskForBlob, BlobKeepers, type BlobWish } from './blobs/blobs-of-images.ts'
export type { ChunkReport } from './blobs/chunk-report.ts'
export { type EnabledReport, enableFsVerity } from './blobs/enable-fs-verity.ts'
export type { DamageReport } from './damage.ts'
export type { DescribedEncryption } from './encryption/report.ts'
export { imageOfLower } from './images/lower-images.ts'
export { inspectSource } from './inspect.ts'
export type { DirectoryReport, InspectReport, LayerReport, VerityReport } from './inspect-report.ts'
export type { LayerVerdict } from './layer-verdict.ts'
export {
  type OpenMolecule,
  openBlockStore,
  openLayerStack,
  openMolecule,
  openWithUpper,
  readHostFile,
  type Surroundings,
  type UpperMolecule,
} from './open.ts'
export { isPrepared, type PrepareSourceOptions, prepareSource } from './prepare/prepare.ts'
export { rehearsalSurroundings } from './rehearsal.ts'
export { filesOf, type ImageOpener, moleculeOf, resolveMolecule } from './resolve.ts'
export { apartOpener, ImageRegistry } from './shared/image-registry.ts'
export { ImageSet, type SharedImage, type SharedMolecule } from './shared/image-set.ts'
export type { DirectoriesSource, MountSource } from './source.ts'
export { isOverlay, parseSource, withOffset } from './source.ts'
export type {
  ChangesPlace,
  DirectoryPlace,
  ImageSpec,
  MoleculeRequest,
  MoleculeSpec,
  UpperImage,
  UpperOptions,
  UpperSpec,
  VerifyMode,
} from './spec.ts'
export {
  hasHostDirectories,
  hostDirectories,
  isVerified,
  layerDescriptors,
  type TarReport,
  takesChanges,
  tarReport,
} from './spec.ts'
export { allocateTally, type ImageTally, readTally, watchImages } from './tally.ts'
export { HeldError } from './upper/lock.ts'
export type { NamedDirectory } from './upper/overlap.ts'
export {
  adoptUpper,
  recordOf,
  type UpperRecord,
  upperDescriptors,
} from './upper/sent-upper.ts'
export { emptyUpper, removeChanges, removeEmptied } from './upper/temporary-changes.ts'
export {
  type OpenUpper,
  openUpper,
  shownPaths,
  syncUpper,
  syncUpperApart,
  type UpperPaths,
  upperPaths,
  viewUpper,
} from './upper/upper.ts'
export { type MeasuredUsage, measureUsage, type UsageRequest } from './usage/measure-usage.ts'
export type { LayerBytes, SizeNode } from './usage/size-tree.ts'
export type { Amount, ImageUsage, LargeDirectory, LargeFile, LayerUsage } from './usage/usage-report.ts'
export {
  type VerifyProgress,
  type VerifyReport,
  type VerifyRequest,
  verifySource,
} from './verify.ts'
export type { SignerRequest } from './verify-signatures.ts'
