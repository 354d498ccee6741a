export { COMPRESSOR_NAMES, type Codec, type CompressorName, type Tier } from './common/codec.ts'
export { type PackageNeed, packageNeed, refusePackages } from './common/native.ts'
export { type CodecReport, listCodecs, openCodec } from './registry.ts'
