/** What stands between the bytes of a source and the reader of an image. */

export { Patience, PostponingSource } from './postponing-source.ts'
export {
  openSource,
  type SourceSpec,
  type TransformOptions,
  type TransformSpec,
  transformed,
  type VerityWatch,
} from './transforms.ts'
