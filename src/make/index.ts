export { type EncoderReport, listEncoders } from '../codecs/encode/index.ts'
export { type CommittedMount, committedImage } from './commit/committed-image.ts'
export { compressionOf } from './compression.ts'
export {
  type ConvertedImage,
  type ConvertedLayer,
  type ConvertOptions,
  convert,
  convertStoredLayer,
  openSourceImage,
  type SourceLayer,
} from './convert/index.ts'
export { type PackOptions, type PackSource, pack, packInto, sizeOfSource } from './pack.ts'
export { buildPuzzlefs } from './puzzlefs/build.ts'
export { convertToPuzzlefs } from './puzzlefs/convert-puzzlefs.ts'
export type { PuzzlefsImage, PuzzlefsOptions } from './puzzlefs/write-puzzlefs.ts'
export { ExcludePaths } from './selection/exclude-paths.ts'
export type { Exclusion } from './selection/exclusion.ts'
export { excludeGlobs } from './selection/glob.ts'
export { Priorities } from './selection/priorities.ts'
export { readSourceForm, type SourceForm } from './source-form.ts'
export type { LeftOut } from './tree-item.ts'
export type { ApplyCounts } from './unpack/applied-directory.ts'
export { type ApplyOptions, applyLayer } from './unpack/apply.ts'
export {
  lowerdirWord,
  type UnpackOptions,
  type UnpackReport,
  unpack,
  unpackLayer,
} from './unpack/unpack.ts'
export type { Whiteouts } from './whiteouts.ts'
export type { PackedImage } from './write-image.ts'
