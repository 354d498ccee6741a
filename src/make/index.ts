export { compressionOf } from './compression.ts'
export { type PackedImage, type PackOptions, pack, sizeOfTree } from './pack.ts'
