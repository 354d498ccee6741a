export { BaseImage } from './base-image.ts'
export { Chunker } from './chunker.ts'
export { encodeRootfs, type NewChunk, type NewInode, type NewRootfs } from './rootfs-writer.ts'
export { encodeSeekable, LEVEL } from './seekable.ts'
