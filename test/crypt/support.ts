import type { KeyObject } from 'node:crypto'
import type { ByteSource } from '../../src/base/index.ts'
import { DEFAULT_KDF_LIMITS, type KeySource } from '../../src/crypt/index.ts'
import { keepSecret } from '../../src/crypt/keys/secret.ts'
import { readLuksHeader } from '../../src/crypt/luks/header.ts'
import { LuksSource } from '../../src/crypt/luks/luks-source.ts'
import { unlockLuks } from '../../src/crypt/luks/unlock.ts'
import { memorySource } from '../ext4/support/describe.ts'

export { memorySource } from '../ext4/support/describe.ts'

/** Keys as a user would give them. @param asked gets the labels for which a passphrase was wanted */
export function givenKeys(passphrase?: string, privateKey?: KeyObject, asked: string[] = []): KeySource {
  return {
    privateKey: () => privateKey,
    passphrase: async (label) => {
      asked.push(label)
      return passphrase === undefined ? undefined : Buffer.from(passphrase)
    },
  }
}

/** What a LUKS2 image in memory holds. */
export async function openLuks(image: Buffer, passphrase: string): Promise<ByteSource> {
  const source = memorySource(image)
  const { metadata } = readLuksHeader(source)
  const key = await unlockLuks(source, metadata, Buffer.from(passphrase), DEFAULT_KDF_LIMITS)
  return new LuksSource(source, { ...metadata.segment, key: keepSecret(key) })
}

export function allOf(source: ByteSource): Buffer {
  const bytes = Buffer.alloc(source.size)
  source.readInto(0, bytes)
  return bytes
}
