import { type ByteSource, omitUndefined } from '../base/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import {
  type BlockDigests,
  HashedSource,
  VerifiedSource,
  type VerityCounters,
  type VerityFailure,
  type VerityTable,
} from '../verity/index.ts'
import { WindowSource } from './window.ts'

/** A thing with bytes, opened once. Plain data, from which each thread makes its own `ByteSource`. */
export interface SourceSpec {
  readonly kind: 'file'
  /** Open in this process and valid in all of its threads. */
  readonly fd: number
  /** Bytes. */
  readonly size: number
}

/** A byte source over another one. Plain data. */
export type TransformSpec =
  /** A part of the lower source. */
  | { readonly kind: 'window'; readonly offset: number; readonly size: number }
  /** dm-verity: compares every read with a root hash. */
  | { readonly kind: 'verity'; readonly table: VerityTable }
  /** Compares every read with what the file was when it was hashed as a whole. */
  | { readonly kind: 'hashed'; readonly blocks: BlockDigests }

/** Receives what verification finds. */
export interface VerityWatch {
  readonly counters: VerityCounters
  readonly onFailure: (failure: VerityFailure) => void
}

export interface TransformOptions {
  readonly watch?: VerityWatch
  /** Most bytes of verified hash blocks to keep. */
  readonly hashCacheBytes?: number
}

/**
 * The bytes of a source, without any transform. Each thread opens its own.
 * @param label digest or path, for messages
 * @param probes false for a thread that never asks what is at hand (`FileSource`)
 */
export function openSource({ fd, size }: SourceSpec, label: string, probes = true): ByteSource {
  return new FileSource(fd, label, size, probes)
}

/**
 * Puts transforms over a source, the first one lowest.
 * @throws FsError EINVAL, EIO for parameters that the format does not allow
 */
export function transformed(
  source: ByteSource,
  transforms: readonly TransformSpec[],
  { watch, hashCacheBytes }: TransformOptions = {},
): ByteSource {
  return transforms.reduce((below: ByteSource, transform): ByteSource => {
    if (transform.kind === 'window') return new WindowSource(below, transform.offset, transform.size)
    if (transform.kind === 'hashed')
      return new HashedSource({ source: below, blocks: transform.blocks, ...watch })
    return new VerifiedSource({
      source: below,
      table: transform.table,
      ...omitUndefined({ cacheBytes: hashCacheBytes }),
      ...watch,
    })
  }, source)
}
