import type { KeyObject } from 'node:crypto'
import {
  complaintOf,
  type NamedSource,
  type PartChoice,
  type PathText,
  UsageError,
} from '../../base/index.ts'
import { DEFAULT_KDF_LIMITS, type KeySource } from '../../crypt/index.ts'
import { readPrivateKey } from '../../crypt/keys/pem.ts'
import { unlockSource as unlockImages } from '../../molecule/encryption/unlock.ts'
import { namedSource, withOffset, withParts } from '../../molecule/source.ts'

/** The key of an encrypted image, as a program has it. */
export interface UnlockRequest {
  /** As on the command line, or one that is not read as text any more. */
  readonly source: string | NamedSource
  /** Text counts as UTF-8. */
  readonly passphrase?: string | Uint8Array | undefined
  /** RSA key in PEM, for images of SIF files that were encrypted for one. It counts before the passphrase. */
  readonly privateKey?: string | Uint8Array | undefined
  readonly options?:
    | {
        /** Byte position of the image in its file. */
        readonly offset?: number | undefined
        /** Which parts of a file with several images. */
        readonly parts?: PartChoice | undefined
      }
    | undefined
  /** Bytes of memory that deriving the key may take; 2 GiB by default. */
  readonly kdfMemory?: number | undefined
  /** Seconds that it may take, estimated beforehand; 60 by default. */
  readonly kdfTime?: number | undefined
}

/**
 * Finds the keys of the encrypted images that a source leads to, and keeps them in this process: it can then mount the
 * source and read it like any other one. Does nothing where none is encrypted. Deriving a key blocks this thread.
 * @returns what people should know, a line each: a damaged copy of a header
 * @throws FsError ENOKEY where the key is missing; EKEYREJECTED for a wrong one; ENOMEM, ETIME where it may not be derived;
 *   EIO for damage; EOPNOTSUPP for what cannot be read; UsageError for a source that is none
 */
export async function unlockSource(request: UnlockRequest): Promise<readonly string[]> {
  const { options = {}, kdfMemory, kdfTime } = request
  const [named] = namedSource(request.source)
  const source = withOffset(withParts(named, options.parts ?? {}), options.offset)
  const { memory, seconds } = DEFAULT_KDF_LIMITS
  const keys = new GivenKeys(request)
  try {
    return await unlockImages(source, {
      keys,
      limits: { memory: kdfMemory ?? memory, seconds: kdfTime ?? seconds },
    })
  } finally {
    keys.wipe()
  }
}

class GivenKeys implements KeySource {
  readonly #passphrase: Buffer | undefined
  readonly #privateKey: KeyObject | undefined

  /** @throws FsError EINVAL for a private key that is none */
  constructor({ passphrase, privateKey }: UnlockRequest) {
    this.#privateKey =
      privateKey === undefined ? undefined : readPrivateKey(bytesOf('privateKey', privateKey), 'privateKey')
    this.#passphrase = passphrase === undefined ? undefined : bytesOf('passphrase', passphrase)
  }

  privateKey(): KeyObject | undefined {
    return this.#privateKey
  }

  async passphrase(_label: PathText): Promise<Uint8Array | undefined> {
    return this.#passphrase
  }

  wipe(): void {
    this.#passphrase?.fill(0)
  }
}

/** A copy. @throws UsageError */
function bytesOf(name: string, value: string | Uint8Array): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value)
  const complaint = complaintOf(name, value)
  if (complaint !== undefined) throw new UsageError(complaint)
  return Buffer.from(value)
}
