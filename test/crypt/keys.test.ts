import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { addKey, hasKeys, heldKey, wipeKeys } from '../../src/crypt/index.ts'
import { decryptMessage, readPrivateKey } from '../../src/crypt/keys/pem.ts'
import { keepSecret, secretBytes, wipeSecret } from '../../src/crypt/keys/secret.ts'
import { unlockImage } from '../../src/crypt/unlock.ts'
import { makeLuks, pemMessage } from '../library/images/luks.ts'
import { givenKeys, memorySource } from './support.ts'

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const PEM = pair.privateKey.export({ type: 'pkcs1', format: 'pem' })

const message = (secret: Uint8Array, parts = 1): Buffer => pemMessage(secret, pair.publicKey, parts)

describe('secrets', () => {
  test('a key is shared with other threads, and gone for all once it is wiped', () => {
    const secret = keepSecret(Buffer.from('0123456789'))
    const other = structuredClone({ ...secret, memory: undefined })
    const shared = { ...other, memory: secret.memory }
    expect(Buffer.from(secretBytes(shared, 'x')).toString()).toBe('0123456789')
    wipeSecret(secret)
    expect(() => secretBytes(shared, 'x')).toThrow('x: its key was wiped, because the mount has ended')
    expect(Buffer.from(secret.memory).includes('0123456789')).toBe(false)
  })

  test('many keys do not lie over each other, and none is larger than a page', () => {
    const keys = Array.from({ length: 200 }, (_, i) => Buffer.alloc(64, i + 1))
    const secrets = keys.map((key) => keepSecret(key))
    for (const [i, secret] of secrets.entries()) {
      expect(Buffer.from(secretBytes(secret, 'x')).equals(keys[i]!)).toBe(true)
    }
    expect(() => keepSecret(Buffer.alloc(5000))).toThrow('a key of 5000 bytes')
  })

  test('the keys of a process are found by what they open, until they are wiped', () => {
    const key = keepSecret(Buffer.from('abcdefgh'))
    addKey({ form: 'gocryptfs', id: 'a', keySize: 8, pieces: [], fileId: '' }, key)
    expect(heldKey('a')?.key).toBe(key)
    expect(heldKey('b')).toBeUndefined()
    wipeKeys()
    expect(hasKeys()).toBe(false)
    expect(() => secretBytes(key, 'x')).toThrow(/wiped/)
  })
})

describe('PEM', () => {
  const key = readPrivateKey(Buffer.from(PEM), 'key.pem')

  test.each([1, 2, 5])('a secret in %i blocks is decrypted by its private key', (parts) => {
    const secret = randomBytes(64)
    expect(decryptMessage(message(secret, parts), key, 'x').equals(secret)).toBe(true)
  })

  test('another key, and one of another size, is refused in one line', () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const larger = generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey
    const text = message(randomBytes(64))
    expect(() => decryptMessage(text, other, 'x')).toThrow('x: was encrypted for another PEM key')
    expect(() => decryptMessage(text, larger, 'x')).toThrow(
      /for a key of another size: 256 bytes, the key has 384/,
    )
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['another block', Buffer.from('-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n')],
    ['no octet string', Buffer.from('-----BEGIN MESSAGE-----\nMAA=\n-----END MESSAGE-----\n')],
    [
      'an octet string that is cut off',
      Buffer.from('-----BEGIN MESSAGE-----\nBIIBAAE=\n-----END MESSAGE-----\n'),
    ],
    ['a length without end', Buffer.from('-----BEGIN MESSAGE-----\nBP8=\n-----END MESSAGE-----\n')],
  ])('%s in place of a message is EIO', (_, text) => {
    expect(() => decryptMessage(text, key, 'x')).toThrow(/^x: the message with its key /)
  })

  test('keys that cannot be used are named', () => {
    const pkcs8 = pair.privateKey.export({ type: 'pkcs8', format: 'pem' })
    expect(readPrivateKey(Buffer.from(pkcs8), 'k').asymmetricKeyType).toBe('rsa')
    const locked = createPrivateKey(PEM).export({
      ...{ type: 'pkcs1', format: 'pem' },
      ...{ cipher: 'aes-128-cbc', passphrase: 'x' },
    })
    expect(() => readPrivateKey(Buffer.from(locked), 'k')).toThrow(
      'k: a key that is protected by a passphrase cannot be used',
    )
    expect(() => readPrivateKey(Buffer.from('x'), 'k')).toThrow(/^k: is no private key in PEM/)
    const ed = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
    expect(() => readPrivateKey(Buffer.from(ed), 'k')).toThrow('k: is a key of type ed25519, expected RSA')
    for (const type of ['pkcs1', 'spki'] as const) {
      const isPublic = pair.publicKey.export({ type, format: 'pem' })
      expect(() => readPrivateKey(Buffer.from(isPublic), 'k')).toThrow(
        'k: is a public key, and the private key that belongs to it is needed',
      )
    }
    const certificate = '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'
    expect(() => readPrivateKey(Buffer.from(certificate), 'k')).toThrow('k: is a certificate (x509), and the')
    // Tools put both into one file.
    expect(readPrivateKey(Buffer.from(certificate + PEM), 'k').asymmetricKeyType).toBe('rsa')
  })
})

describe('which key is taken', () => {
  const LIMITS = { memory: 2 ** 30, seconds: 60 }
  const unlock = (image: Buffer, note: object, keys: ReturnType<typeof givenKeys>) =>
    unlockImage(
      {
        image: memorySource(image),
        note: { form: 'luks2', ...note },
        content: () => {
          throw new Error('no gocryptfs')
        },
      },
      keys,
      LIMITS,
    )
  const secret = randomBytes(32).toString('hex')
  const image = makeLuks({ plain: randomBytes(5000), passphrase: secret })

  test('an image for a PEM key is opened by it, without asking for a passphrase', async () => {
    const asked: string[] = []
    await unlock(
      image,
      { message: message(Buffer.from(secret)) },
      givenKeys(undefined, pair.privateKey, asked),
    )
    expect(asked).toEqual([])
    expect(hasKeys()).toBe(true)
    wipeKeys()
  })

  test('an image for a passphrase does not take a PEM key, and says so', async () => {
    await expect(unlock(image, {}, givenKeys(undefined, pair.privateKey))).rejects.toMatchObject({
      code: 'ENOKEY',
      message: 'image: was not encrypted for a PEM key, and needs its passphrase',
    })
  })

  test('without any key the message says what to give', async () => {
    await expect(unlock(image, {}, givenKeys())).rejects.toThrow(
      'image: is encrypted (LUKS2), and its key is needed: give --passphrase-file, or set APPTAINER_ENCRYPTION_PASSPHRASE',
    )
    await expect(unlock(image, { message: message(randomBytes(64)) }, givenKeys())).rejects.toThrow(
      /its key is needed: set APPTAINER_ENCRYPTION_PEM_PATH to its private key$/,
    )
    const other = { unread: 'OpenPGP, RSA-OAEP' }
    for (const keys of [givenKeys(), givenKeys(undefined, pair.privateKey)]) {
      await expect(unlock(image, other, keys)).rejects.toThrow(
        'image: is encrypted (LUKS2), and its key is in a message that is not read (OpenPGP, RSA-OAEP; ' +
          'Apptainer writes PEM, RSA-OAEP alone): if it has a passphrase, too, give --passphrase-file, or set',
      )
    }
  })
})
