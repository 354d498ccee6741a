export { type ConvertedImage, type ConvertedLayer, type ConvertOptions, convert } from './convert.ts'
export { openSourceImage } from './open-source.ts'
