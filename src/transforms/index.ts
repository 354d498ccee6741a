/** The byte sources between a source and the reader of an image. */

export { BlobKeeper, openBlob } from './blob-keeper.ts'
export {
  allocateBlobs,
  allocateParts,
  type BlobPlace,
  type BlobsSpec,
  type BlobWish,
  blobCount,
  blobDescriptors,
  placeOf,
  SharedBlobs,
} from './blobs.ts'
export { PiecesSource } from './pieces.ts'
export { Patience, PostponingSource } from './postponing-source.ts'
export {
  openSource,
  type SourceSpec,
  type TransformOptions,
  type TransformSpec,
  transformed,
} from './transforms.ts'
