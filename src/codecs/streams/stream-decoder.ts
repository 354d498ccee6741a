/** The compressed forms of whole files that are decoded here. */
export type StreamName = 'xz' | 'bzip2' | 'zstd'

/** Decodes one stream, which may have several members one after the other. */
export interface StreamDecoder {
  /**
   * @param input reachable until all pieces have been taken
   * @returns decoded pieces, the caller's from then on
   * @throws StreamDamage
   */
  decode(input: Uint8Array): Generator<Uint8Array>
  /** The input has ended. @throws StreamDamage if it ends too early */
  finish(): Generator<Uint8Array>
  /** Frees what the library holds. Once, also after an error. */
  close(): void
}

/** Bytes of a piece. */
export const PIECE = 256 << 10

/** Structs of libraries are written as 64-bit machines have them. */
export const ARCHITECTURES_64_LITTLE = ['x64', 'arm64', 'riscv64', 'loong64']

/** What a decoder says of data that it cannot decode. Which data they are, the caller knows. */
export class StreamDamage extends Error {
  constructor(library: string, reason: string) {
    super(`${reason} (${library})`)
  }
}

/** Why a stream whose last member has no end is refused. */
export const TOO_SHORT = 'the data end too early'
