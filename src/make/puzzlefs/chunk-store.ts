import { hash } from 'node:crypto'
import { encodeSeekable, LEVEL } from '../../../puzzlefs/write/index.ts'
import { type Encoder, openEncoder } from '../../codecs/encode/index.ts'
import type { Descriptor } from '../../oci/index.ts'
import type { LayoutWriter } from '../../oci/write/index.ts'
import { fsVerityDigest } from '../../verity/index.ts'

const CHUNK_TYPE = 'application/vnd.puzzlefs.image.filedata.v1'
/** Bytes of a frame: what the encoder gets at once. */
const FRAME_SIZE = 4096

/** A chunk as it is stored. */
export interface StoredChunk {
  readonly digest: Buffer
  readonly compressed: boolean
}

/** The chunks of one image that is being made: each is stored once. */
export class ChunkStore {
  /** Of all chunks, in the order in which they came first. */
  readonly descriptors: Descriptor[] = []
  readonly #output: LayoutWriter
  readonly #encoder: Encoder | undefined
  /** fs-verity digests by digests, hex. */
  readonly #verity = new Map<string, string>()

  /** @param compress in zstd's seekable format, where that makes a chunk smaller. @throws FsError EOPNOTSUPP */
  constructor(output: LayoutWriter, compress: boolean) {
    this.#output = output
    this.#encoder = compress ? openEncoder({ name: 'zstd', level: LEVEL, blockSize: FRAME_SIZE }) : undefined
  }

  /** @throws FsError ENOSPC, … */
  put(plain: Uint8Array): StoredChunk {
    const packed = this.#encoder && encodeSeekable(plain, this.#encoder)
    const bytes = packed ?? plain
    const hex = hash('sha256', bytes, 'hex')
    if (!this.#verity.has(hex)) {
      this.#output.store(bytes, hex)
      this.#verity.set(hex, fsVerityDigest(bytes))
      const mediaType = this.#encoder === undefined ? CHUNK_TYPE : `${CHUNK_TYPE}+zstd`
      this.descriptors.push({ digest: `sha256:${hex}`, mediaType, size: bytes.length })
    }
    return { digest: Buffer.from(hex, 'hex'), compressed: packed !== undefined }
  }

  /**
   * All chunks in the order of their digests, with their fs-verity digests.
   * @param others of the image below, hex
   */
  tableWith(
    others: readonly (readonly [digest: string, verity: string])[],
  ): readonly (readonly [digest: Buffer, verity: Buffer])[] {
    return [...new Map([...others, ...this.#verity])]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([digest, verity]) => [Buffer.from(digest, 'hex'), Buffer.from(verity, 'hex')] as const)
  }
}
