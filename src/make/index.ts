export { type EncoderReport, listEncoders } from '../codecs/encode/index.ts'
export { type CommittedMount, committedImage } from './commit/committed-image.ts'
export { compressionOf } from './compression.ts'
export {
  type ConvertedImage,
  type ConvertedLayer,
  type ConvertOptions,
  convert,
  openSourceImage,
} from './convert/index.ts'
export { type PackOptions, type PackSource, pack, packInto, sizeOfTree } from './pack.ts'
export { ExcludePaths } from './selection/exclude-paths.ts'
export type { Exclusion } from './selection/exclusion.ts'
export { excludeGlobs } from './selection/glob.ts'
export { Priorities } from './selection/priorities.ts'
export type { Whiteouts } from './whiteouts.ts'
export type { PackedImage } from './write-image.ts'
