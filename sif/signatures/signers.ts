import { spawnSync } from 'node:child_process'
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { codeOf, FsError, messageOf, type PathText } from '../../src/base/index.ts'
import type { SignatureMessage } from './message.ts'

/** Who signed: checked, not checked and why, or wrong and why. */
export type SignerVerdict =
  | { readonly state: 'checked'; readonly signer: string }
  | { readonly state: 'unchecked'; readonly reason: string }
  | { readonly state: 'wrong'; readonly reason: string }

/** The keys that a user trusts. */
export interface TrustedKeys {
  /** For envelopes. */
  readonly keys: readonly KeyObject[]
  /** File for gpgv, absolute. */
  readonly keyring?: PathText | undefined
}

const GPGV_TIMEOUT_MS = 60_000

/** Numbers of RFC 9580, 9.5, that a signature of a SIF may have: SHA-224, 256, 384, 512. */
const PGP_HASHES = new Set(['8', '9', '10', '11'])

/** @param pem a public key or a certificate. @throws FsError EINVAL for anything else */
export function readPublicKey(pem: Buffer, path: PathText): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw new FsError('EINVAL', `${path}: is no public key in PEM: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Checks who signed an envelope. One good signature is enough.
 * @param hash of the signature, as `node:crypto` names it; ed25519 has its own
 */
export function checkEnvelope(
  { signedBytes, signatures }: Extract<SignatureMessage, { form: 'dsse' }>,
  hash: string,
  { keys }: TrustedKeys,
): SignerVerdict {
  if (keys.length === 0) return { state: 'unchecked', reason: 'no key was given (--key)' }
  const key = keys.find((one) => signatures.some(({ bytes }) => isSignedBy(one, hash, signedBytes, bytes)))
  if (key === undefined) return { state: 'wrong', reason: 'no signature in it is of the given key' }
  return { state: 'checked', signer: `${key.asymmetricKeyType} key` }
}

function isSignedBy(key: KeyObject, hash: string, signed: Buffer, signature: Buffer): boolean {
  const ownHash = key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyType === 'ed448'
  try {
    return verify(ownHash ? null : hash, signed, key, signature)
  } catch {
    return false
  }
}

/**
 * Checks who clear-signed a message, by gpgv.
 * @param fingerprint of the key, hex, as the descriptor of the signature says
 */
export function checkClearSigned(
  message: Buffer,
  fingerprint: string | undefined,
  { keyring }: TrustedKeys,
): SignerVerdict {
  if (keyring === undefined) return { state: 'unchecked', reason: 'no keyring was given (--keyring)' }
  const { error, status, stdout, signal } = spawnSync(
    'gpgv',
    ['--status-fd', '1', '--keyring', keyring, '-'],
    {
      input: message,
      encoding: 'latin1',
      timeout: GPGV_TIMEOUT_MS,
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  )
  if (codeOf(error) === 'ENOENT') return { state: 'unchecked', reason: 'gpgv is not installed' }
  if (error !== undefined || signal !== null) {
    return { state: 'wrong', reason: `gpgv ended without an answer (${codeOf(error) ?? signal})` }
  }
  const words = stdout.split('\n').map((line) => line.split(' ').slice(1))
  const valid = words.filter(([word]) => word === 'VALIDSIG')
  const [found, other] = valid
  if (status !== 0 || found === undefined || other !== undefined)
    return { state: 'wrong', reason: refusal(words) }
  // VALIDSIG: the key, date, times, reserved, algorithm, hash, class, and the primary key of that key.
  const [, key = '', , , , , , , hash = '', , primary = key] = found
  if (!PGP_HASHES.has(hash)) return { state: 'wrong', reason: `hash algorithm ${hash} is too weak` }
  if (fingerprint !== undefined && primary.toLowerCase() !== fingerprint) {
    return {
      state: 'wrong',
      reason: `signed by ${primary}, and the descriptor says ${fingerprint.toUpperCase()}`,
    }
  }
  return { state: 'checked', signer: primary }
}

/** What gpgv says of a signature that it does not accept. */
function refusal(words: readonly (readonly string[])[]): string {
  const [, key] = words.find(([word]) => word === 'NO_PUBKEY') ?? []
  if (key !== undefined) return `its key ${key} is not in the keyring`
  const reason = words
    .map(([word]) => word)
    .find((word) => /^(?:BADSIG|EXPKEYSIG|EXPSIG|REVKEYSIG|ERRSIG)$/.test(word ?? ''))
  return `gpgv does not accept it (${reason ?? 'no valid signature'})`
}
