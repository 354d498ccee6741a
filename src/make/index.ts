export { compressionOf } from './compression.ts'
export { type PackOptions, type PackSource, pack, sizeOfTree } from './pack.ts'
export type { Whiteouts } from './tar-tree.ts'
export type { PackedImage } from './write-image.ts'
