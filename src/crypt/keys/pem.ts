import { constants, createPrivateKey, type KeyObject, privateDecrypt } from 'node:crypto'
import { FsError, messageOf } from '../../base/index.ts'

/** A message holds one block of RSA for each key of a larger secret: keys have 64 bytes, and one block is enough. */
const MOST_BLOCKS = 16
const OCTET_STRING = 0x04

/**
 * Reads an RSA key in PEM.
 * @param what names it in messages: a file, or a variable
 * @throws FsError EINVAL for anything else, and for one that is protected by a passphrase
 */
export function readPrivateKey(pem: Buffer, what: string): KeyObject {
  if (/ENCRYPTED/.test(pem.toString('latin1'))) {
    throw new FsError('EINVAL', `${what}: a key that is protected by a passphrase cannot be used`)
  }
  const other = /-----BEGIN (?:[A-Z0-9]+ )*(PUBLIC KEY|CERTIFICATE)-----/.exec(pem.toString('latin1'))?.[1]
  if (other !== undefined && !/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem.toString('latin1'))) {
    const it = other === 'CERTIFICATE' ? 'certificate (x509)' : 'public key'
    throw new FsError('EINVAL', `${what}: is a ${it}, and the private key that belongs to it is needed`)
  }
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    throw new FsError('EINVAL', `${what}: is no private key in PEM (${reasonOf(error)})`, { cause: error })
  }
  if (key.asymmetricKeyType === 'rsa') return key
  throw new FsError('EINVAL', `${what}: is a key of type ${key.asymmetricKeyType}, expected RSA`)
}

/**
 * Decrypts the message of an image: a PEM block MESSAGE that holds a DER octet string of RSA-OAEP blocks.
 * @returns what the image was encrypted with; the caller wipes it
 * @throws FsError EIO for what is no such message; EKEYREJECTED for another key
 */
export function decryptMessage(message: Uint8Array, key: KeyObject, label: string): Buffer {
  const wrong = (what: string): FsError => new FsError('EIO', `${label}: the message with its key ${what}`)
  const blocks = octetString(pemBlock(message, wrong), wrong)
  const modulus = (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  if (blocks.length === 0 || blocks.length % modulus !== 0 || blocks.length > MOST_BLOCKS * modulus) {
    throw new FsError(
      'EKEYREJECTED',
      `${label}: was encrypted for a key of another size: ${blocks.length} bytes, the key has ${modulus}`,
    )
  }
  const parts: Buffer[] = []
  try {
    for (let at = 0; at < blocks.length; at += modulus) {
      const padding = constants.RSA_PKCS1_OAEP_PADDING
      parts.push(privateDecrypt({ key, padding, oaepHash: 'sha256' }, blocks.subarray(at, at + modulus)))
    }
    return Buffer.concat(parts)
  } catch (error) {
    throw new FsError('EKEYREJECTED', `${label}: was encrypted for another PEM key`, { cause: error })
  } finally {
    for (const part of parts) part.fill(0)
  }
}

function pemBlock(message: Uint8Array, wrong: (what: string) => FsError): Buffer {
  const text = Buffer.from(message).toString('latin1')
  const found = /-----BEGIN MESSAGE-----\r?\n([A-Za-z0-9+/=\s]*)-----END MESSAGE-----/.exec(text)
  if (found === null) throw wrong('is no PEM block MESSAGE')
  return Buffer.from(found[1] ?? '', 'base64')
}

/** The content of a DER octet string that is all of `der` (X.690, 8.1.3 and 8.7). */
function octetString(der: Buffer, wrong: (what: string) => FsError): Buffer {
  const [tag, short = 0] = der
  const longForm = short >= 0x80
  const lengthBytes = longForm ? short & 0x7f : 0
  const start = 2 + lengthBytes
  if (tag !== OCTET_STRING || lengthBytes > 4 || start > der.length || short === 0x80) {
    throw wrong('holds no octet string')
  }
  const length = longForm ? der.readUIntBE(2, lengthBytes) : short
  if (start + length > der.length) throw wrong(`is cut off: ${der.length} bytes, expected ${start + length}`)
  return der.subarray(start, start + length)
}

function reasonOf(error: unknown): string {
  return messageOf(error).replace(/\s+/g, ' ').slice(0, 80)
}
