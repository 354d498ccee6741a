/** For `doctor`: what decodes on this machine. */
export { type CodecReport, listCodecs } from '../codecs/index.ts'
