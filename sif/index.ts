/** SIF, the image file of Singularity and Apptainer. Only read. */
export type { Extra, Link, SifObject } from './descriptor.ts'
export { encryptionOf } from './encryption.ts'
export { looksLikeSif, MAGIC_END, type SifHeader } from './header.ts'
export { listSif } from './listing.ts'
export {
  type ChosenPartitions,
  choosePartitions,
  isPartition,
  objectById,
  type Partition,
} from './partitions.ts'
export { checkObject, objectTitle, readObject, readSif, recordOf, type Sif } from './sif.ts'
export * from './signatures/index.ts'
export { FILE_SYSTEM, PART, TYPE } from './types.ts'
