export { COMPRESSOR_NAMES, type Codec, type CompressorName, type Tier } from './codec.ts'
export { type CodecReport, listCodecs, openCodec } from './registry.ts'
