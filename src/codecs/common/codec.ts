import { FsError } from '../../base/index.ts'

/** The compressors of squashfs, by the names mksquashfs gives them (squashfs: Superblock, compression id). */
export type CompressorName = 'gzip' | 'lzma' | 'lzo' | 'xz' | 'lz4' | 'zstd'

/** The compressors of squashfs. */
export const COMPRESSOR_NAMES: readonly CompressorName[] = ['gzip', 'lzma', 'lzo', 'xz', 'lz4', 'zstd']

/**
 * Where a decoder comes from: `system` is a shared library of the machine, `node` what Node or a native npm
 * package brings along, `portable` runs wherever JavaScript runs.
 */
export type Tier = 'system' | 'node' | 'portable'

/**
 * One decoder with its own context and scratch memory. Use one instance per thread: a call must end before the
 * next one begins. Contexts live as long as the thread; nothing has to be closed.
 */
export interface Codec {
  readonly name: CompressorName
  readonly tier: Tier
  /** What decodes, for `doctor` and for messages: `libdeflate.so.0`, `node:zlib`, `pako 3.0.3`. */
  readonly library: string
  /**
   * Decodes one compressed block.
   * @param input the block, whole; both arguments may lie over a SharedArrayBuffer
   * @param output at least as large as the block may become; bytes after the result are undefined, bytes
   *   outside of it are never written
   * @returns decoded length in bytes
   * @throws FsError EIO where the input is damaged, ends early, or decodes to more than `output.length`.
   *   Bytes after the end of a stream that marks its end are ignored, as the kernel does.
   */
  decode(input: Uint8Array, output: Uint8Array): number
  /**
   * The same for an input of several frames, one directly after the other, of which all are decoded. Absent: not in one go.
   */
  decodeFrames?(input: Uint8Array, output: Uint8Array): number
}

/** A way to decode one compressor, not yet loaded. */
export interface Candidate {
  readonly name: CompressorName
  readonly tier: Tier
  /** Library or package to name where it is missing. */
  readonly library: string
  /** Loads what is needed. @returns undefined where this machine does not have it */
  open(): Codec | undefined
}

/** The error of every decoder for input it cannot decode. */
export function damaged(codec: { readonly name: string; readonly library: string }, reason: string): FsError {
  return new FsError('EIO', `${codec.name} block (${codec.library}): ${reason}`)
}
