export {
  DEFAULT_LEVELS,
  type Encoder,
  type EncoderName,
  type EncoderSettings,
  LEVEL_RANGES,
} from './encoder.ts'
export { ENCODER_NAMES, type EncoderReport, listEncoders, openEncoder } from './registry.ts'
