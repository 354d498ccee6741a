import type { ByteSource, EncryptionNote } from '../base/index.ts'
import { decodeConfig } from './gocryptfs/config.ts'
import { readLuksHeader } from './luks/header.ts'
import type { Kdf } from './luks/layout.ts'
import { CIPHER } from './luks/metadata.ts'

/** What is known of an encrypted image without its key. Sizes in bytes. */
export interface EncryptionReport {
  /** Digest or path of the image. */
  readonly label: string
  readonly form: 'luks2' | 'gocryptfs'
  readonly cipher: string
  readonly keyBits: number
  /** Of what is encrypted at once. */
  readonly sectorSize: number
  /** The ways to its key. */
  readonly keyslots: readonly KeyslotReport[]
  /** Its container has the key in a message for an RSA key. */
  readonly hasMessage: boolean
  /** What people should know of its state, one line. */
  readonly remark?: string
}

/** How a key is derived from a passphrase. */
export interface KeyslotReport {
  readonly id: number
  readonly kdf: string
  readonly memory?: number
  /** Passes over the memory, of argon2. */
  readonly time?: number
  /** Threads that it can use, of argon2. */
  readonly lanes?: number
  readonly iterations?: number
  readonly hash?: string
}

/**
 * Describes an encrypted image.
 * @param config reads `gocryptfs.conf`
 * @throws FsError as `readLuksHeader`, `decodeConfig`
 */
export function describeEncryption(
  image: ByteSource,
  { form, message }: EncryptionNote,
  config: () => Uint8Array,
): EncryptionReport {
  const { label } = image
  const common = { label, form, hasMessage: message !== undefined }
  if (form === 'gocryptfs') {
    const { n, r } = decodeConfig(config(), label).scrypt
    const keyslots = [{ id: 0, kdf: 'scrypt', memory: 128 * n * r }]
    return { ...common, cipher: 'aes-gcm', keyBits: 256, sectorSize: 4096, keyslots }
  }
  const { metadata, remark } = readLuksHeader(image)
  const { keyslots, segment } = metadata
  return {
    ...common,
    cipher: CIPHER,
    keyBits: 8 * (keyslots[0]?.keySize ?? 0),
    sectorSize: segment.sectorSize,
    keyslots: keyslots.map(({ id, kdf }) => ({ id, ...describeKdf(kdf) })),
    ...(remark === undefined ? {} : { remark }),
  }
}

function describeKdf(kdf: Kdf): Omit<KeyslotReport, 'id'> {
  if (kdf.type === 'pbkdf2') return { kdf: kdf.type, iterations: kdf.iterations, hash: kdf.hash }
  return { kdf: kdf.type, memory: kdf.memory * 1024, time: kdf.time, lanes: kdf.cpus }
}
