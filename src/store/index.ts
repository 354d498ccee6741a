export { type BlobVerdict, verifyBlob } from './blob-digest.ts'
export { type IndexLayersOptions, indexLayers } from './index-layers.ts'
export { isArchive, withIndex } from './indexed-layer.ts'
export { STORE_VARIABLE, storePath } from './place.ts'
