import { createCipheriv, hkdfSync, randomBytes, scryptSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { decodeConfig, unlockGocryptfs } from '../../src/crypt/gocryptfs/config.ts'
import { GocryptfsSource } from '../../src/crypt/gocryptfs/gocryptfs-source.ts'
import { plainSize } from '../../src/crypt/gocryptfs/layout.ts'
import { DEFAULT_KDF_LIMITS, keepSecret } from '../../src/crypt/index.ts'
import { allOf, memorySource } from './support.ts'

/** What gocryptfs writes, made here; test/system/encryption.test.ts reads what the program itself makes. */

const FLAGS = ['GCMIV128', 'HKDF', 'PlaintextNames']
const MASTER = randomBytes(32)

function seal(key: Uint8Array, plain: Uint8Array, aad: Uint8Array): Buffer {
  const nonce = randomBytes(16)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(aad)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

const contentKey = (key: Uint8Array): Buffer =>
  Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), 'AES-GCM file content encryption', 32))

function config(password: string, more: object = {}): Buffer {
  const salt = randomBytes(32)
  const wrapping = contentKey(scryptSync(password, salt, 32, { N: 1024, r: 8, p: 1 }))
  return Buffer.from(
    JSON.stringify({
      Creator: 'gocryptfs 2.3',
      EncryptedKey: seal(wrapping, MASTER, Buffer.alloc(8)).toString('base64'),
      ScryptObject: { Salt: salt.toString('base64'), N: 1024, R: 8, P: 1, KeyLen: 32 },
      Version: 2,
      FeatureFlags: FLAGS,
      ...more,
    }),
  )
}

const FILE_ID = randomBytes(16)

/** @param holes numbers of blocks that are holes */
function encrypted(plain: Uint8Array, holes: readonly number[] = []): Buffer {
  const key = contentKey(MASTER)
  const parts: Buffer[] = [Buffer.concat([Buffer.of(0, 2), FILE_ID])]
  for (let block = 0; block * 4096 < plain.length; block++) {
    const piece = plain.subarray(block * 4096, (block + 1) * 4096)
    const number = Buffer.alloc(8)
    number.writeBigUInt64BE(BigInt(block))
    const sealed = seal(key, piece, Buffer.concat([number, FILE_ID]))
    parts.push(holes.includes(block) ? Buffer.alloc(sealed.length) : sealed)
  }
  return Buffer.concat(parts)
}

const open = (bytes: Buffer) =>
  new GocryptfsSource(memorySource(bytes, 'x'), {
    fileId: FILE_ID.toString('hex'),
    key: keepSecret(contentKey(MASTER)),
  })

describe('gocryptfs.conf', () => {
  test('the password gives the key of the content, another one is refused in one line', async () => {
    const decoded = decodeConfig(config('right'), 'x')
    const key = await unlockGocryptfs(decoded, Buffer.from('right'), DEFAULT_KDF_LIMITS, 'x')
    expect(key.equals(contentKey(MASTER))).toBe(true)
    await expect(
      unlockGocryptfs(decoded, Buffer.from('wrong'), DEFAULT_KDF_LIMITS, 'x'),
    ).rejects.toMatchObject({
      code: 'EKEYREJECTED',
      message: 'x: the passphrase or key is wrong: it does not open the image',
    })
  })

  test.each([
    ...['AESSIV', 'XChaCha20Poly1305', 'EMENames', 'LongNames', 'DirIV', 'Raw64', 'FIDO2'].map((flag) => [
      [...FLAGS, flag],
      `with the flag "${flag}"`,
    ]),
    ...FLAGS.map((flag) => [FLAGS.filter((one) => one !== flag), `without the flag ${flag}`]),
  ] as [string[], string][])('the flags %j are refused by name', (FeatureFlags, what) => {
    expect(() => decodeConfig(config('x', { FeatureFlags }), 'x')).toThrow(
      `x: gocryptfs ${what} is not read: only what Apptainer makes`,
    )
  })

  test.each([
    [{ Version: 1 }, /Version/],
    [{ EncryptedKey: 'AAAA' }, /an encrypted key of 3 bytes/],
    [{ EncryptedKey: '*' }, /EncryptedKey/],
    [{ ScryptObject: { Salt: '', N: 1000, R: 8, P: 1, KeyLen: 32 } }, /N 1000, R 8 and P 1 is impossible/],
    [{ ScryptObject: { Salt: '', N: 1024, R: 8, P: 1, KeyLen: 16 } }, /KeyLen/],
  ])('%j is EIO', (more, message) => {
    expect(() => decodeConfig(config('x', more), 'x')).toThrow(message)
    expect(() => decodeConfig(config('x', more), 'x')).toThrow(expect.objectContaining({ code: 'EIO' }))
  })

  test('a derivation that asks for too much never starts', async () => {
    const scrypt = (n: number, r: number, p: number) =>
      unlockGocryptfs(
        { encryptedKey: Buffer.alloc(64), scrypt: { salt: Buffer.alloc(32), n, r, p } },
        Buffer.from('x'),
        DEFAULT_KDF_LIMITS,
        'x',
      )
    await expect(scrypt(2 ** 30, 8, 1)).rejects.toMatchObject({ code: 'ENOMEM', message: /--kdf-memory/ })
    await expect(scrypt(2 ** 20, 8, 1024)).rejects.toMatchObject({ code: 'ETIME', message: /--kdf-time/ })
  })
})

describe('an encrypted file', () => {
  test.each([1, 4095, 4096, 4097, 3 * 4096, 400_000])('of %i bytes holds what was encrypted', (size) => {
    const plain = randomBytes(size)
    const source = open(encrypted(plain))
    expect(source.size).toBe(size)
    expect(allOf(source).equals(plain)).toBe(true)
    for (const [at, length] of [
      [0, 1],
      [size - 1, 1],
      [Math.floor(size / 3), Math.floor(size / 2)],
    ] as const) {
      const part = Buffer.alloc(length)
      source.readInto(at, part)
      expect(part.equals(plain.subarray(at, at + length))).toBe(true)
    }
    expect(() => source.readInto(size, Buffer.alloc(1))).toThrow(/outside/)
  })

  test('a hole is zeros, a block without a nonce is damage', () => {
    const plain = randomBytes(3 * 4096)
    const bytes = encrypted(plain, [1])
    const expected = Buffer.from(plain).fill(0, 4096, 8192)
    expect(allOf(open(bytes)).equals(expected)).toBe(true)
    bytes[18 + 4128 + 500] = 1
    expect(() => allOf(open(bytes))).toThrow('x: gocryptfs: block at byte 4096 has no nonce')
  })

  test('a block that was changed, or moved, is damage, and the others are read', () => {
    const plain = randomBytes(5 * 4096)
    const bytes = encrypted(plain)
    for (const at of [0, 16, 2000, 4127]) {
      const changed = Buffer.from(bytes)
      changed[18 + 2 * 4128 + at]! ^= 1
      const source = open(changed)
      const target = Buffer.alloc(4096)
      expect(() => source.readInto(2 * 4096 + 9, Buffer.alloc(10))).toThrow(
        'x: gocryptfs: block at byte 8192 does not match its authentication tag',
      )
      source.readInto(3 * 4096, target)
      expect(target.equals(plain.subarray(3 * 4096, 4 * 4096))).toBe(true)
    }
    const moved = Buffer.from(bytes)
    bytes.copy(moved, 18, 18 + 4128, 18 + 2 * 4128)
    expect(() => open(moved).readInto(0, Buffer.alloc(1))).toThrow(/block at byte 0 does not match/)
  })

  test('sizes that no file has are refused', () => {
    expect([0, 18, 18 + 33, 18 + 4128, 18 + 4128 + 33].map(plainSize)).toEqual([0, 0, 1, 4096, 4097])
    expect([1, 17, 19, 18 + 32, 18 + 4128 + 32].map(plainSize)).toEqual(Array(5).fill(undefined))
    expect(() => open(Buffer.alloc(40))).toThrow('x: gocryptfs: no file has 40 bytes: it is cut off')
  })
})
