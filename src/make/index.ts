export { compressionOf } from './compression.ts'
export { type PackedImage, type PackOptions, type PackSource, pack, sizeOfTree } from './pack.ts'
export type { Whiteouts } from './tar-tree.ts'
