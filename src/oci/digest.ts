import { createHash } from 'node:crypto'
import { FsError, printable } from '../base/index.ts'

/** Registered algorithms of the image specification (descriptor.md, "Registered algorithms") and their hex length. */
const HEX_LENGTH = { sha256: 64, sha512: 128 } as const

export type DigestAlgorithm = keyof typeof HEX_LENGTH

/** A content identifier `algorithm:hex` whose two parts are safe to use as file names. */
export interface Digest {
  readonly algorithm: DigestAlgorithm
  /** Lower case, of exactly the algorithm's length. */
  readonly hex: string
  /** `algorithm:hex`. */
  readonly text: string
}

/** Whether a text has the form of a digest with a known algorithm; `parseDigest` says what is wrong with one that has it. */
export function looksLikeDigest(text: string): boolean {
  return isAlgorithm(text.slice(0, Math.max(text.indexOf(':'), 0)))
}

/**
 * Parses a digest strictly: the parts become path components, so nothing but lower-case hex of the right
 * length may pass, whatever the wider grammar of descriptor.md would allow.
 * @param where names the place of the digest in messages.
 * @throws FsError EIO where it is malformed, EOPNOTSUPP if the algorithm is not known.
 */
export function parseDigest(text: string, where: string): Digest {
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, Math.max(colon, 0))
  const hex = text.slice(colon + 1)
  if (colon <= 0 || !/^[a-z0-9]+(?:[+._-][a-z0-9]+)*$/.test(algorithm) || !/^[a-zA-Z0-9=_-]+$/.test(hex)) {
    throw new FsError('EIO', `${where}: malformed digest ${quote(text)}, expected algorithm:hex`)
  }
  if (!isAlgorithm(algorithm)) {
    throw new FsError(
      'EOPNOTSUPP',
      `${where}: digest algorithm ${quote(algorithm)} is not supported, only sha256 and sha512 are`,
    )
  }
  if (!/^[0-9a-f]+$/.test(hex) || hex.length !== HEX_LENGTH[algorithm]) {
    throw new FsError(
      'EIO',
      `${where}: malformed digest ${quote(text)}, expected ${HEX_LENGTH[algorithm]} lower-case hex digits after ${algorithm}:`,
    )
  }
  return { algorithm, hex, text }
}

/** `algorithm:hex` of the bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** Text from outside in a message: quoted, without what cannot be printed, cut to a readable length. */
export function quote(text: string): string {
  const shown = printable(text.replace(/["\\]/g, '\\$&'))
  return `"${shown.length > 120 ? `${shown.slice(0, 120)}…` : shown}"`
}

function isAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(HEX_LENGTH, text)
}
