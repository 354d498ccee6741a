import type { EncryptionForm, EncryptionNote } from '../src/base/index.ts'
import type { SifObject } from './descriptor.ts'
import { readObject, type Sif } from './sif.ts'
import {
  CRYPTO_PEM,
  CRYPTO_RSA_OAEP,
  cryptoFormatName,
  cryptoMessageName,
  FILE_SYSTEM,
  TYPE,
} from './types.ts'

/** A message holds 64 bytes of a key, encrypted for one that may be long. */
const MESSAGE_LIMIT = 64 << 10

const FORMS: Readonly<Record<number, EncryptionForm>> = {
  [FILE_SYSTEM.luks]: 'luks2',
  [FILE_SYSTEM.gocryptfs]: 'gocryptfs',
}

/**
 * How a partition is encrypted, with the first message that holds its key for an RSA key: the one that Apptainer takes.
 * @returns undefined for one that is not encrypted
 * @throws FsError EIO where the message does not lie in the file
 */
export function encryptionOf(sif: Sif, object: SifObject): EncryptionNote | undefined {
  const form = object.extra.of === 'partition' ? FORMS[object.extra.fileSystem] : undefined
  if (form === undefined) return undefined
  const messages = sif.objects.filter(
    ({ type, link }) =>
      type === TYPE.crypto && link !== undefined && 'object' in link && link.object === object.id,
  )
  const message = messages.find(({ extra }) => isForRsa(extra))
  if (message !== undefined) return { form, message: readObject(sif, message, MESSAGE_LIMIT) }
  const [other] = messages
  return { form, ...(other === undefined ? {} : { unread: formOf(other.extra) }) }
}

/** The only form that Apptainer writes and reads (apptainer: `pkg/util/cryptkey`). */
function isForRsa(extra: SifObject['extra']): boolean {
  return extra.of === 'crypto' && extra.format === CRYPTO_PEM && extra.message === CRYPTO_RSA_OAEP
}

function formOf(extra: SifObject['extra']): string {
  if (extra.of !== 'crypto') return 'none'
  return `${cryptoFormatName(extra.format)}, ${cryptoMessageName(extra.message)}`
}
