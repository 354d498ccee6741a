export type { ConvertedLayer, ConvertOptions } from './conversion.ts'
export { type ConvertedImage, convert } from './convert.ts'
export { openSourceImage } from './open-source.ts'
export { convertStoredLayer } from './stored-layer.ts'
