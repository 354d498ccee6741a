import { createHash } from 'node:crypto'
import { type ByteSource, type EncryptionForm, type EncryptionNote, FsError } from '../base/index.ts'
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

/** The error for an image whose key nobody has given. */
export function keyMissing(label: string, { form, message, unread }: EncryptionNote): FsError {
  const passphrase = 'give --passphrase-file, or set APPTAINER_ENCRYPTION_PASSPHRASE'
  const way = message === undefined ? passphrase : 'set APPTAINER_ENCRYPTION_PEM_PATH to its private key'
  const what = `${label}: is encrypted (${FORM_TITLES[form]}), and its key`
  if (unread === undefined) return new FsError('ENOKEY', `${what} is needed: ${way}`)
  const not = `is in a message that is not read (${unread}; Apptainer writes PEM, RSA-OAEP alone)`
  return new FsError('ENOKEY', `${what} ${not}: if it has a passphrase, too, ${way}`)
}
