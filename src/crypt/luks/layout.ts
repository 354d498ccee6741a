import { FsError } from '../../base/index.ts'
import type { Kdf } from './schema.ts'

export type { Kdf } from './schema.ts'

export interface Keyslot {
  readonly id: number
  /** Those of higher priority are tried first; those of 0 are not tried. */
  readonly priority: number
  /** Bytes of the key that it holds. */
  readonly keySize: number
  readonly kdf: Kdf
  readonly area: { readonly offset: number; readonly size: number; readonly keySize: number }
  /** How the key is spread over the area. */
  readonly stripes: number
  readonly hash: string
}

export interface Segment {
  readonly offset: number
  /** Bytes; as far as the image has whole sectors where the header says "dynamic". */
  readonly size: number
  readonly sectorSize: number
  readonly ivTweak: number
}

/** What tells whether a key is the right one. */
export interface KeyDigest {
  readonly hash: string
  readonly iterations: number
  readonly salt: Buffer
  readonly digest: Buffer
}

/** The metadata of an encrypted image, checked. Positions in bytes from the start of the image. */
export interface LuksMetadata {
  /** In the order in which they are to be tried. */
  readonly keyslots: readonly Keyslot[]
  readonly segment: Segment
  readonly digest: KeyDigest
}

/** What the metadata are checked against. */
export interface LuksPlace {
  readonly label: string
  /** Bytes of the image. */
  readonly size: number
  /** Where both copies of the header end. */
  readonly headersEnd: number
}

/** The error for metadata that no image can have. */
export function wrong(label: string, what: string): FsError {
  return new FsError('EIO', `${label}: LUKS2 metadata: ${what}`)
}
