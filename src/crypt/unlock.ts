import { type ByteSource, type EncryptionNote, FsError } from '../base/index.ts'
import { decodeConfig, unlockGocryptfs } from './gocryptfs/config.ts'
import { FILE_ID_SIZE, FILE_VERSION, HEADER_SIZE, plainSize } from './gocryptfs/layout.ts'
import type { KdfLimits } from './kdf/limits.ts'
import type { KeySource } from './keys/key-source.ts'
import { addKey, type FilePiece } from './keys/keyring.ts'
import { decryptMessage } from './keys/pem.ts'
import { keepSecret, type Secret } from './keys/secret.ts'
import { keyMissing, lockId } from './lock.ts'
import { type LuksHeader, readLuksHeader } from './luks/header.ts'
import { unlockLuks } from './luks/unlock.ts'

export { CONFIG_LIMIT } from './gocryptfs/layout.ts'

/** The encrypted file of a gocryptfs image, and what says how. */
export interface GocryptfsContent {
  /** Of `gocryptfs.conf`. */
  readonly config: Uint8Array
  readonly pieces: readonly FilePiece[]
  /** Its bytes as they are stored. */
  readonly file: ByteSource
}

/** One encrypted image, as far as it can be read without its key. */
export interface LockedImage {
  /** What is encrypted. */
  readonly image: ByteSource
  /** What its container says. */
  readonly note: EncryptionNote
  /** Finds what a gocryptfs image holds. */
  readonly content: () => GocryptfsContent
}

/** Keys that were derived from passphrases, by what `gocryptfs.conf` says: the files of one directory have one. */
export type DerivedKeys = Map<string, Secret>

/**
 * Finds the key of an image, and keeps it for this process.
 * @param derived what was derived for other images of the same source
 * @returns what people should know, a line each
 * @throws FsError ENOKEY where no key was given; EKEYREJECTED for a wrong one; as `unlockLuks`
 */
export async function unlockImage(
  { image, note, content }: LockedImage,
  keys: KeySource,
  limits: KdfLimits,
  derived: DerivedKeys = new Map(),
): Promise<readonly string[]> {
  if (note.form === 'gocryptfs') {
    await unlockContent(image, contentOf(image, note, content), note, keys, limits, derived)
    return []
  }
  const header = readLuksHeader(image)
  await unlockSegment(image, header, note, keys, limits)
  return header.remark === undefined ? [] : [`${image.label}: ${header.remark}`]
}

async function unlockSegment(
  image: ByteSource,
  { metadata }: LuksHeader,
  note: EncryptionNote,
  keys: KeySource,
  limits: KdfLimits,
): Promise<void> {
  const key = await withMaterial(image.label, note, keys, (material) =>
    unlockLuks(image, metadata, material, limits),
  )
  try {
    const { offset, size, sectorSize, ivTweak } = metadata.segment
    addKey(
      {
        form: 'luks2',
        id: lockId(image, 'luks2'),
        keySize: key.length,
        ...{ offset, size, sectorSize, ivTweak },
      },
      keepSecret(key),
    )
  } finally {
    key.fill(0)
  }
}

function contentOf(
  image: ByteSource,
  { config }: EncryptionNote,
  content: () => GocryptfsContent,
): GocryptfsContent {
  if (config === undefined) return content()
  return { config, pieces: [{ position: 0, length: image.size }], file: image }
}

async function unlockContent(
  image: ByteSource,
  { config, pieces, file }: GocryptfsContent,
  note: EncryptionNote,
  keys: KeySource,
  limits: KdfLimits,
  derived: DerivedKeys,
): Promise<void> {
  const fileId = readFileId(file)
  const known = Buffer.from(config).toString('latin1')
  const secret = derived.get(known) ?? (await deriveContentKey(config, image.label, note, keys, limits))
  derived.set(known, secret)
  const id = lockId(image, 'gocryptfs')
  addKey({ form: 'gocryptfs', id, keySize: secret.length, pieces, fileId }, secret)
}

async function deriveContentKey(
  config: Uint8Array,
  label: string,
  note: EncryptionNote,
  keys: KeySource,
  limits: KdfLimits,
): Promise<Secret> {
  const decoded = decodeConfig(config, label)
  const key = await withMaterial(label, note, keys, (material) =>
    unlockGocryptfs(decoded, material, limits, label),
  )
  try {
    return keepSecret(key)
  } finally {
    key.fill(0)
  }
}

/** @returns hex. @throws FsError EIO */
function readFileId(file: ByteSource): string {
  const size = plainSize(file.size)
  if (size === undefined || size === 0) {
    throw new FsError('EIO', `${file.label}: gocryptfs: an encrypted image of ${file.size} bytes`)
  }
  const header = Buffer.alloc(HEADER_SIZE)
  file.readInto(0, header)
  const version = header.readUInt16BE()
  if (version !== FILE_VERSION) {
    throw new FsError(
      'EIO',
      `${file.label}: gocryptfs: version ${version} of the file, expected ${FILE_VERSION}`,
    )
  }
  return header.toString('hex', HEADER_SIZE - FILE_ID_SIZE)
}

/** Gives a passphrase, or what an RSA key decrypts, to one piece of work. @throws FsError ENOKEY */
async function withMaterial(
  label: string,
  note: EncryptionNote,
  keys: KeySource,
  work: (material: Uint8Array) => Promise<Buffer>,
): Promise<Buffer> {
  const { message, unread } = note
  const privateKey = message === undefined ? undefined : keys.privateKey()
  if (message !== undefined && privateKey !== undefined) {
    const material = decryptMessage(message, privateKey, label)
    try {
      return await work(material)
    } finally {
      material.fill(0)
    }
  }
  const passphrase = await keys.passphrase(label)
  if (passphrase !== undefined) return await work(passphrase)
  if (message === undefined && unread === undefined && keys.privateKey() !== undefined) {
    throw new FsError('ENOKEY', `${label}: was not encrypted for a PEM key, and needs its passphrase`)
  }
  throw keyMissing(label, note)
}
