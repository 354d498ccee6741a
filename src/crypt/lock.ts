import { createHash } from 'node:crypto'
import { type ByteSource, type EncryptionForm, FsError } from '../base/index.ts'
import { hasSecondCopy } from './luks/magic.ts'

/** As people call them. */
export const FORM_TITLES: Readonly<Record<EncryptionForm, string>> = {
  luks2: 'LUKS2',
  gocryptfs: 'gocryptfs',
}

/** What identifies an encrypted image: its start has all salts, and the digest of the header. Bytes. */
const IDENTIFYING = 64 << 10

/** Names an encrypted image for the keys of this process: they open no other one. Hex. @throws FsError EIO */
export function lockId(image: ByteSource, form: EncryptionForm): string {
  const start = new Uint8Array(Math.min(IDENTIFYING, image.size))
  image.readInto(0, start)
  return createHash('sha256').update(`${form} ${image.size} `).update(start).digest('hex')
}

/** Whether an image that nothing else knows is an encrypted one whose start is damaged. @throws FsError EIO */
export function isEncryptedBehindDamage(image: ByteSource): boolean {
  return hasSecondCopy((position, target) => {
    if (position + target.length > image.size) return false
    image.readInto(position, target)
    return true
  })
}

/**
 * The error for an image whose key nobody has given.
 * @param forPem it was encrypted for an RSA key
 */
export function keyMissing(label: string, form: EncryptionForm, forPem = false): FsError {
  const passphrase = 'give --passphrase-file, or set APPTAINER_ENCRYPTION_PASSPHRASE'
  const way = forPem ? 'set APPTAINER_ENCRYPTION_PEM_PATH to its private key' : passphrase
  return new FsError('ENOKEY', `${label}: is encrypted (${FORM_TITLES[form]}), and its key is needed: ${way}`)
}
