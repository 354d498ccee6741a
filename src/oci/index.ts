export { openLayerBlob } from './blob.ts'
export * from './config.ts'
export * from './container.ts'
export * from './digest.ts'
export * from './docker-archive.ts'
export * from './image.ts'
export { type LayoutFiles, layoutIn } from './layout.ts'
export { blobPathOf, openLayoutFile } from './layout-file.ts'
export * from './media-type.ts'
export * from './platform.ts'
export * from './root-hash.ts'
export {
  ConfigSchema,
  type Descriptor,
  type ImageConfig,
  type Manifest,
  parseDocument,
  parseValue,
} from './schema.ts'
export { readLayoutIndex } from './select.ts'
