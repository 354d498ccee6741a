/**
 * Wires one mount together. Only the files of `src/molecule/` know OCI, verity, squashfs and the merge at the
 * same time; everything above sees this list.
 */

export type { IdRange, IdRule, UpperPolicy } from '../overlay/index.ts'
export { type CodecReport, listCodecs } from './molecule/codecs.ts'
export type { DamageReport } from './molecule/damage.ts'
export { inspectSource } from './molecule/inspect.ts'
export type { InspectReport, LayerReport, VerityReport } from './molecule/inspect-report.ts'
export {
  type OpenMolecule,
  openBlockStore,
  openMolecule,
  openWithUpper,
  readHostFile,
  type UpperMolecule,
} from './molecule/open.ts'
export { prepareRehearsal } from './molecule/rehearsal.ts'
export { resolveMolecule } from './molecule/resolve.ts'
export type {
  ChangesPlace,
  ImageSpec,
  MoleculeRequest,
  MoleculeSpec,
  UpperOptions,
  UpperSpec,
  VerifyMode,
} from './molecule/spec.ts'
export { hasHostDirectories, isVerified, layerDescriptors, takesChanges } from './molecule/spec.ts'
export { allocateTally, type ImageTally, readTally, watchImages } from './molecule/tally.ts'
export { removeChanges } from './molecule/temporary-changes.ts'
export {
  HeldError,
  type OpenUpper,
  openUpper,
  type UpperPaths,
  upperPaths,
  viewUpper,
} from './molecule/upper.ts'
export { type LayerVerdict, type VerifyProgress, type VerifyReport, verifySource } from './molecule/verify.ts'
