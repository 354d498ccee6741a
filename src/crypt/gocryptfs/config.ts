import { createDecipheriv, hkdfSync, scryptSync } from 'node:crypto'
import * as v from 'valibot'
import { FsError, messageOf } from '../../base/index.ts'
import { checkMemory, type KdfLimits, TimeBudget } from '../kdf/limits.ts'
import { NONCE_SIZE, TAG_SIZE } from './layout.ts'

/** What Apptainer makes: no other way to encrypt, or to name files, is read. */
const NEEDED_FLAGS = ['GCMIV128', 'HKDF', 'PlaintextNames'] as const
const KEY_SIZE = 32
/** What HKDF is told that the key is for (gocryptfs: `cryptocore/hkdf.go`). */
const CONTENT_INFO = 'AES-GCM file content encryption'

const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(1))
const Bytes = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^[A-Za-z0-9+/]*={0,2}$/),
  v.transform((text) => Buffer.from(text, 'base64')),
)
const ConfigSchema = v.looseObject({
  Version: v.literal(2),
  EncryptedKey: Bytes,
  ScryptObject: v.looseObject({ Salt: Bytes, N: Count, R: Count, P: Count, KeyLen: v.literal(KEY_SIZE) }),
  FeatureFlags: v.pipe(v.array(v.pipe(v.string(), v.maxLength(64))), v.maxLength(32)),
})

/** How the master key of a gocryptfs directory is encrypted. */
export interface GocryptfsConfig {
  /** Nonce, key and tag. */
  readonly encryptedKey: Buffer
  readonly scrypt: { readonly salt: Buffer; readonly n: number; readonly r: number; readonly p: number }
}

/**
 * Reads `gocryptfs.conf`.
 * @throws FsError EIO for what is none; EOPNOTSUPP, which names it, for a form that is not read
 */
export function decodeConfig(bytes: Uint8Array, label: string): GocryptfsConfig {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new FsError('EIO', `${label}: gocryptfs.conf: not valid JSON`, { cause: error })
  }
  const result = v.safeParse(ConfigSchema, value, { abortEarly: true })
  if (!result.success) {
    const [issue] = result.issues
    const field = (v.getDotPath(issue) ?? 'document').slice(0, 80)
    const what = `expected ${issue.expected ?? 'another value'}, got ${issue.received.slice(0, 80)}`
    throw new FsError('EIO', `${label}: gocryptfs.conf: ${field}: ${what}`)
  }
  const { EncryptedKey: encryptedKey, FeatureFlags: flags, ScryptObject: scrypt } = result.output
  checkFlags(flags, label)
  if (encryptedKey.length !== NONCE_SIZE + KEY_SIZE + TAG_SIZE) {
    throw new FsError('EIO', `${label}: gocryptfs.conf: an encrypted key of ${encryptedKey.length} bytes`)
  }
  const { Salt: salt, N: n, R: r, P: p } = scrypt
  if (n < 2 || (n & (n - 1)) !== 0 || n > 2 ** 30 || r > 1024 || p > 1024) {
    throw new FsError('EIO', `${label}: gocryptfs.conf: scrypt with N ${n}, R ${r} and P ${p} is impossible`)
  }
  return { encryptedKey, scrypt: { salt, n, r, p } }
}

function checkFlags(flags: readonly string[], label: string): void {
  const needed: readonly string[] = NEEDED_FLAGS
  const other = flags.find((flag) => !needed.includes(flag))
  const missing = needed.find((flag) => !flags.includes(flag))
  if (other === undefined && missing === undefined) return
  const what = other === undefined ? `without the flag ${missing}` : `with the flag ${JSON.stringify(other)}`
  throw new FsError('EOPNOTSUPP', `${label}: gocryptfs ${what} is not read: only what Apptainer makes`)
}

/** Seconds that scrypt takes for so many bytes of memory that it goes through, on a slow machine. */
const SLOW_RATE = 20 * 2 ** 20
const SURELY_SHORT = 10

/**
 * The key of the content of files.
 * @param password stays the caller's, who wipes it
 * @returns 32 bytes; the caller wipes them
 * @throws FsError EKEYREJECTED for another password; ENOMEM, ETIME for a derivation that is not allowed
 */
export async function unlockGocryptfs(
  { encryptedKey, scrypt }: GocryptfsConfig,
  password: Uint8Array,
  limits: KdfLimits,
  label: string,
): Promise<Buffer> {
  const { salt, n, r, p } = scrypt
  const what = `${label}: gocryptfs (scrypt)`
  const memory = 128 * n * r
  checkMemory(memory + 128 * r * p, limits, what)
  const derived = await new TimeBudget(limits).run(estimate(memory * p, r), what, () => {
    try {
      return scryptSync(password, salt, KEY_SIZE, {
        N: n,
        r,
        p,
        maxmem: memory + 256 * r * (p + 2) + 2 ** 20,
      })
    } catch (error) {
      throw new FsError('ENOMEM', `${what} failed: ${messageOf(error)}`, { cause: error })
    }
  })
  const wrapping = contentKey(derived)
  derived.fill(0)
  try {
    const master = unwrap(encryptedKey, wrapping)
    if (master === undefined) {
      throw new FsError(
        'EKEYREJECTED',
        `${label}: the passphrase or key is wrong: it does not open the image`,
      )
    }
    try {
      return contentKey(master)
    } finally {
      master.fill(0)
    }
  } finally {
    wrapping.fill(0)
  }
}

/** @returns seconds */
function estimate(work: number, r: number): number {
  if (work / SLOW_RATE <= SURELY_SHORT) return work / SLOW_RATE
  const n = 1024
  const start = performance.now()
  scryptSync('', new Uint8Array(16), KEY_SIZE, { N: n, r, p: 1, maxmem: 256 * n * r })
  return ((performance.now() - start) / 1000 / (128 * n * r)) * work
}

function contentKey(secret: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, new Uint8Array(0), CONTENT_INFO, KEY_SIZE))
}

/** The master key is encrypted as block 0 of a file without an id. */
function unwrap(encrypted: Buffer, key: Buffer): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, encrypted.subarray(0, NONCE_SIZE))
  decipher.setAAD(new Uint8Array(8))
  decipher.setAuthTag(encrypted.subarray(-TAG_SIZE))
  const master = decipher.update(encrypted.subarray(NONCE_SIZE, -TAG_SIZE))
  try {
    decipher.final()
    return master
  } catch {
    master.fill(0)
    return undefined
  }
}
