/** For `doctor`: what decodes on this machine. */
export { type CodecReport, listCodecs } from '../../squashfs/index.ts'
