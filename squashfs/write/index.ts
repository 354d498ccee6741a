export type { BlockCompressor, ImageOutput } from './block-queue.ts'
export { FileOutput } from './file-output.ts'
export { type NewEntry, SquashfsWriter, type WriterOptions, type WrittenImage } from './squashfs-writer.ts'
export type { Attribute } from './xattr-writer.ts'
