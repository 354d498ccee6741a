import {
  constants,
  createCipheriv,
  createHash,
  type KeyObject,
  pbkdf2Sync,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { copyFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { run } from '../programs/process.ts'

/** LUKS2 images: small ones made in memory, and those of cryptsetup, which needs no device-mapper for it. */

export interface LuksShape {
  readonly plain: Uint8Array
  readonly passphrase: string | Uint8Array
  readonly sectorSize?: number
  /** Bytes of the key: 64 if absent. */
  readonly keySize?: 32 | 64
  readonly headerSize?: number
  readonly ivTweak?: number
  readonly stripes?: number
  /** In the place of what the metadata say. */
  readonly change?: (metadata: Metadata) => unknown
  /** Of the second copy; the first one has 1. */
  readonly secondSequence?: number
}

type Json = { [name: string]: unknown }
/** The metadata, to be changed in tests. */
export interface Metadata {
  keyslots: Record<string, Json & { kdf: Json; af: Json; area: Json }>
  segments: Record<string, Json>
  digests: Record<string, Json>
  config: Json
}

const HASH = 'sha256'
const ITERATIONS = 1000
const AREA_OFFSET = 32_768

/** Builds an image with one keyslot, whose key is derived by pbkdf2. */
export function makeLuks(shape: LuksShape): Buffer {
  const { plain, passphrase, sectorSize = 512, keySize = 64, headerSize = 16_384, stripes = 40 } = shape
  const { ivTweak = 0, secondSequence = 1 } = shape
  const key = randomBytes(keySize)
  const [salt, digestSalt] = [randomBytes(32), randomBytes(32)]
  const areaSize = Math.ceil((keySize * stripes) / 4096) * 4096
  const areaOffset = Math.max(AREA_OFFSET, 2 * headerSize)
  const offset = areaOffset + areaSize
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  const metadata: Metadata = {
    keyslots: {
      '0': {
        type: 'luks2',
        key_size: keySize,
        af: { type: 'luks1', stripes, hash: HASH },
        area: {
          type: 'raw',
          offset: String(areaOffset),
          size: String(areaSize),
          encryption: 'aes-xts-plain64',
          key_size: keySize,
        },
        kdf: { type: 'pbkdf2', hash: HASH, iterations: ITERATIONS, salt: base64(salt) },
      },
    },
    tokens: {} as never,
    segments: {
      '0': {
        type: 'crypt',
        offset: String(offset),
        size: 'dynamic',
        iv_tweak: String(ivTweak),
        encryption: 'aes-xts-plain64',
        sector_size: sectorSize,
      },
    },
    digests: {
      '0': {
        type: 'pbkdf2',
        keyslots: ['0'],
        segments: ['0'],
        hash: HASH,
        iterations: ITERATIONS,
        salt: base64(digestSalt),
        digest: base64(pbkdf2Sync(key, digestSalt, ITERATIONS, 32, HASH)),
      },
    },
    config: { json_size: String(headerSize - 4096), keyslots_size: String(areaSize) },
  } as Metadata
  const json = Buffer.from(JSON.stringify(shape.change?.(metadata) ?? metadata))
  const areaKey = pbkdf2Sync(passphrase, salt, ITERATIONS, keySize, HASH)
  const material = Buffer.alloc(areaSize)
  splitKey(key, stripes).copy(material)
  const padded = Buffer.alloc(Math.ceil(plain.length / sectorSize) * sectorSize)
  padded.set(plain)
  const image = Buffer.alloc(offset + padded.length)
  headerCopy(headerSize, 'LUKS\xba\xbe', 0, 1, json).copy(image)
  headerCopy(headerSize, 'SKUL\xba\xbe', headerSize, secondSequence, json).copy(image, headerSize)
  encryptSectors(material, areaKey, 512, 0).copy(image, areaOffset)
  encryptSectors(padded, key, sectorSize, ivTweak).copy(image, offset)
  return image
}

/** @param sequence counts the changes of the header */
function headerCopy(size: number, magic: string, at: number, sequence: number, json: Buffer): Buffer {
  const header = Buffer.alloc(size)
  header.write(magic, 0, 'latin1')
  header.writeUInt16BE(2, 6)
  header.writeBigUInt64BE(BigInt(size), 8)
  header.writeBigUInt64BE(BigInt(sequence), 16)
  header.write(HASH, 72)
  header.write('01234567-89ab-cdef-0123-456789abcdef', 168)
  header.writeBigUInt64BE(BigInt(at), 256)
  json.copy(header, 4096)
  createHash(HASH).update(header).digest().copy(header, 448)
  return header
}

/** Makes the checksum of a changed copy right again. */
export function repairChecksum(image: Buffer, at = 0): void {
  const size = Number(image.readBigUInt64BE(at + 8))
  image.fill(0, at + 448, at + 512)
  createHash(HASH)
    .update(image.subarray(at, at + size))
    .digest()
    .copy(image, at + 448)
}

/** Spreads a key over stripes: what `mergeStripes` puts together. */
export function splitKey(key: Buffer, stripes: number, hash = HASH): Buffer {
  const material = randomBytes(key.length * stripes)
  let sum: Buffer = Buffer.alloc(key.length)
  for (let i = 0; i < stripes - 1; i++) {
    sum = diffuse(xor(sum, material.subarray(i * key.length, (i + 1) * key.length)), hash)
  }
  xor(sum, key).copy(material, (stripes - 1) * key.length)
  return material
}

function diffuse(block: Buffer, hash: string): Buffer {
  const size = createHash(hash).digest().length
  const pieces = Array.from({ length: Math.ceil(block.length / size) }, (_, i) => {
    const piece = block.subarray(i * size, (i + 1) * size)
    const number = Buffer.of(0, 0, 0, i)
    return createHash(hash).update(number).update(piece).digest().subarray(0, piece.length)
  })
  return Buffer.concat(pieces)
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)))
}

/** As dm-crypt does it. */
export function encryptSectors(bytes: Buffer, key: Buffer, sectorSize: number, tweak: number): Buffer {
  const sectors: Buffer[] = []
  for (let at = 0; at < bytes.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(BigInt(tweak + at / 512))
    const cipher = createCipheriv(key.length === 64 ? 'aes-256-xts' : 'aes-128-xts', key, iv)
    sectors.push(cipher.update(bytes.subarray(at, at + sectorSize)))
  }
  return Buffer.concat(sectors)
}

/** Bytes before the data of an image of cryptsetup. */
const CRYPTSETUP_OFFSET = 16 << 20

/**
 * Encrypts a file with cryptsetup, which shifts what is in it.
 * @param options of `cryptsetup reencrypt`
 * @returns the path of the image
 */
export async function encryptByCryptsetup(
  plain: string,
  image: string,
  passphrase: string,
  options: readonly string[],
): Promise<string> {
  const { size } = statSync(plain)
  copyFileSync(plain, image)
  truncateSync(image, size + 2 * CRYPTSETUP_OFFSET)
  const keyFile = `${image}.key`
  writeFileSync(keyFile, passphrase)
  const words = ['reencrypt', '--encrypt', '--batch-mode', '--type', 'luks2', '--reduce-device-size', '32M']
  await run('cryptsetup', [...words, ...options, '--key-file', keyFile, image], { timeout: 120_000 })
  truncateSync(image, CRYPTSETUP_OFFSET + size)
  return image
}

/** The message of an encrypted partition, as Apptainer writes it: RSA-OAEP in a DER octet string in PEM. */
export function pemMessage(secret: Uint8Array, key: KeyObject, parts = 1): Buffer {
  const size = Math.ceil(secret.length / parts)
  const padding = constants.RSA_PKCS1_OAEP_PADDING
  const blocks = Array.from({ length: parts }, (_, i) =>
    publicEncrypt({ key, padding, oaepHash: 'sha256' }, secret.subarray(i * size, (i + 1) * size)),
  )
  const content = Buffer.concat(blocks)
  const der = Buffer.concat([Buffer.of(4, 0x82, content.length >> 8, content.length & 0xff), content])
  const lines = der
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')
  return Buffer.from(`-----BEGIN MESSAGE-----\n${lines}\n-----END MESSAGE-----\n`)
}
