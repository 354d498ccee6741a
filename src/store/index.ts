export type { Moves } from '../../tar/index.ts'
export { type BlobVerdict, verifyBlob } from './blob-digest.ts'
export { collectStore, listStore, removeStored, type StoredLayer } from './contents.ts'
export { isArchive, withStored } from './find-stored.ts'
export { adoptIndexes, heldIndexes } from './held-in-memory.ts'
export { INDEX_DIR_VARIABLE, STORE_VARIABLE, storePath } from './place.ts'
export {
  type ConvertedLayer,
  type LayerMakers,
  type Preparation,
  type PrepareOptions,
  prepareLayers,
} from './prepare-layers.ts'
