import { type ByteSource, omitUndefined, type VerityWatch } from '../base/index.ts'
import {
  type FilePiece,
  type GocryptfsFile,
  GocryptfsSource,
  type LuksSegment,
  LuksSource,
} from '../crypt/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import { type BlockDigests, HashedSource, VerifiedSource, type VerityTable } from '../verity/index.ts'
import { PiecesSource } from './pieces.ts'
import { WindowSource } from './window.ts'

/** A thing with bytes, opened once. Plain data, from which each thread makes its own `ByteSource`. */
export interface SourceSpec {
  readonly kind: 'file'
  /** Open in this process and valid in all of its threads. */
  readonly fd: number
  /** Bytes. */
  readonly size: number
  /** Whether it lies in memory (`liesInMemory`). Asked once: the threads of a mount never wait for the disk. */
  readonly inMemory: boolean
}

/** A byte source over another one. Plain data. */
export type TransformSpec =
  /** A part of the lower source. */
  | { readonly kind: 'window'; readonly offset: number; readonly size: number }
  /** A file that the lower source stores in pieces. */
  | { readonly kind: 'pieces'; readonly pieces: readonly FilePiece[] }
  /** LUKS2: decrypts what lies behind its header. */
  | { readonly kind: 'luks'; readonly segment: LuksSegment }
  /** gocryptfs: decrypts an encrypted file, and authenticates each block. */
  | { readonly kind: 'gocryptfs'; readonly file: GocryptfsFile }
  /** dm-verity: compares every read with a root hash. */
  | { readonly kind: 'verity'; readonly table: VerityTable }
  /** Compares every read with what the file was when it was hashed as a whole. */
  | { readonly kind: 'hashed'; readonly blocks: BlockDigests }

export interface TransformOptions {
  readonly watch?: VerityWatch
  /** Most bytes of verified hash blocks to keep. */
  readonly hashCacheBytes?: number
}

/**
 * The bytes of a source, without any transform. Each thread opens its own.
 * @param label digest or path, for messages
 */
export function openSource({ fd, size, inMemory }: SourceSpec, label: string): ByteSource {
  return new FileSource(fd, label, size, inMemory)
}

/**
 * Puts transforms over a source, the first one lowest.
 * @throws FsError EINVAL, EIO for parameters that the format does not allow
 */
export function transformed(
  source: ByteSource,
  transforms: readonly TransformSpec[],
  options: TransformOptions = {},
): ByteSource {
  return transforms.reduce((below: ByteSource, transform) => over(below, transform, options), source)
}

function over(
  source: ByteSource,
  transform: TransformSpec,
  { watch, hashCacheBytes }: TransformOptions,
): ByteSource {
  switch (transform.kind) {
    case 'window':
      return new WindowSource(source, transform.offset, transform.size)
    case 'pieces':
      return new PiecesSource(source, transform.pieces)
    case 'luks':
      return new LuksSource(source, transform.segment)
    case 'gocryptfs':
      return new GocryptfsSource(source, transform.file)
    case 'hashed':
      return new HashedSource({ source, blocks: transform.blocks, ...watch })
    case 'verity':
      return new VerifiedSource({
        source,
        table: transform.table,
        ...omitUndefined({ cacheBytes: hashCacheBytes }),
        ...watch,
      })
  }
}
