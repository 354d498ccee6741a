import { pbkdf2Sync } from 'node:crypto'
import { type ByteSource, FsError, messageOf } from '../../base/index.ts'
import { openSectorCipher } from '../ciphers/xts.ts'
import { checkArgon2, checkMemory, type KdfLimits, type TimeBudget } from '../kdf/limits.ts'
import { openArgon2 } from '../kdf/open-argon2.ts'
import { estimateArgon2, estimatePbkdf2 } from '../kdf/probe.ts'
import { mergeStripes } from './anti-forensic.ts'
import { hashNamed } from './hashes.ts'
import type { KeyDigest, Keyslot } from './layout.ts'

/** Keyslot areas are encrypted by sectors of this size, whatever those of the data are. */
const AREA_SECTOR = 512

/** What opening a keyslot may take. */
export interface Opening {
  readonly limits: KdfLimits
  readonly budget: TimeBudget
}

/**
 * The key that a keyslot holds, if the passphrase is its own.
 * @param image from the first byte of the header
 * @returns some key for any passphrase: `isKey` tells; the caller wipes it
 * @throws FsError ENOMEM, ETIME for what is not allowed; EOPNOTSUPP, EIO
 */
export async function openKeyslot(
  image: ByteSource,
  slot: Keyslot,
  passphrase: Uint8Array,
  opening: Opening,
): Promise<Buffer> {
  const what = `${image.label}: keyslot ${slot.id}`
  const hash = hashOf(slot.hash, what)
  const areaKey = await deriveKey(slot, passphrase, what, opening)
  try {
    const length = slot.keySize * slot.stripes
    const material = Buffer.alloc(Math.ceil(length / AREA_SECTOR) * AREA_SECTOR)
    image.readInto(slot.area.offset, material)
    const cipher = openSectorCipher(areaKey)
    try {
      cipher.decrypt(material, AREA_SECTOR, 0, 1)
      return mergeStripes(material.subarray(0, length), slot.keySize, hash)
    } finally {
      cipher.close()
      material.fill(0)
    }
  } finally {
    areaKey.fill(0)
  }
}

/** Whether a key is the one that the header was made with. @throws FsError ETIME, EOPNOTSUPP */
export async function isKey(
  key: Uint8Array,
  { hash: name, iterations, salt, digest }: KeyDigest,
  label: string,
  { budget }: Opening,
): Promise<boolean> {
  const what = `${label}: the digest of its key`
  const hash = hashOf(name, what)
  checkIterations(iterations, what)
  const made = await budget.run(estimatePbkdf2(iterations, 1, hash), what, () =>
    pbkdf2Sync(key, salt, iterations, digest.length, hash),
  )
  return made.equals(digest)
}

async function deriveKey(
  { kdf, area }: Keyslot,
  passphrase: Uint8Array,
  what: string,
  { limits, budget }: Opening,
): Promise<Uint8Array> {
  const { keySize: length } = area
  if (kdf.type === 'pbkdf2') {
    const hash = hashOf(kdf.hash, what)
    checkIterations(kdf.iterations, what)
    const estimate = estimatePbkdf2(kdf.iterations, Math.ceil(length / 20), hash)
    return await budget.run(estimate, `${what} (pbkdf2)`, () =>
      pbkdf2Sync(passphrase, kdf.salt, kdf.iterations, length, hash),
    )
  }
  const { type: form, salt, time, memory, cpus: lanes } = kdf
  const title = `${what} (${form})`
  checkArgon2({ time, memory, lanes }, title)
  if (salt.length < 8) throw new FsError('EIO', `${title}: a salt of ${salt.length} bytes`)
  checkMemory(memory * 1024, limits, title)
  const argon2 = openArgon2()
  const parameters = { form, salt, time, memory, lanes, length }
  const estimate = await estimateArgon2(argon2, parameters)
  try {
    return await budget.run(estimate, title, () => argon2.derive(passphrase, parameters))
  } catch (error) {
    if (error instanceof FsError) throw error
    throw new FsError('ENOMEM', `${title} failed: ${messageOf(error)}`, { cause: error })
  }
}

/** As many as PBKDF2 of OpenSSL takes. @throws FsError EIO */
function checkIterations(count: number, what: string): void {
  if (count < 1 || count >= 2 ** 31) throw new FsError('EIO', `${what}: pbkdf2 with ${count} iterations`)
}

/** @throws FsError EOPNOTSUPP */
function hashOf(name: string, what: string): string {
  const hash = hashNamed(name)
  if (hash !== undefined) return hash
  throw new FsError('EOPNOTSUPP', `${what} uses the hash ${JSON.stringify(name)}, which is not known here`)
}
