import { FsError, messageOf } from '../../src/base/index.ts'
import { parseMetadata, type SignedMetadata } from './metadata.ts'

/** One signature of an envelope. */
export interface EnvelopeSignature {
  readonly bytes: Buffer
}

/** The message of a signature object, by its form. */
export type SignatureMessage =
  | {
      readonly form: 'dsse'
      readonly metadata: SignedMetadata
      /** What the signatures are made over. */
      readonly signedBytes: Buffer
      readonly signatures: readonly EnvelopeSignature[]
    }
  /** Clear-signed by PGP. `message` is all of it, and nothing else. */
  | { readonly form: 'pgp'; readonly metadata: SignedMetadata; readonly message: Buffer }
  /** As before Singularity 3.6: a hash of the data alone, clear-signed. */
  | { readonly form: 'legacy'; readonly hex: string; readonly message: Buffer }

/** More is no message of a signature, bytes. */
export const MESSAGE_LIMIT = 16 << 20

/** The only type of payload that is understood. */
const PAYLOAD_TYPE = 'application/vnd.sylabs.sif-metadata+json'

const MOST_SIGNATURES = 64

/** RFC 9580, 7: the armour of a clear-signed message, whose text lies between the empty line and the signature. */
const CLEAR_SIGNED =
  /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n((?:[!-9;-~]+: [^\r\n]*\r?\n)*)\r?\n([\s\S]*?)\r?\n-----BEGIN PGP SIGNATURE-----\r?\n[\s\S]*?\r?\n-----END PGP SIGNATURE-----(?:\r?\n)?$/

const LEGACY = /^SIFHASH:\n([0-9a-f]+)$/

/**
 * Reads the message of a signature object.
 * @param where names the object in messages
 * @throws FsError EIO where it is none of the forms
 */
export function parseMessage(bytes: Buffer, where: string): SignatureMessage {
  const text = bytes.toString('utf8')
  if (text.trimStart().startsWith('{')) return parseEnvelope(text, where)
  if (text.startsWith('-----BEGIN PGP SIGNED MESSAGE-----')) return parseClearSigned(bytes, text, where)
  const isX509 = text.startsWith('-----BEGIN SIGNED MESSAGE-----')
  const what = isX509 ? ': x509, which existed for some weeks of 2022, and which nobody checks any more' : ''
  throw new FsError('EIO', `${where}: signature format not recognized${what}`)
}

function parseEnvelope(text: string, where: string): SignatureMessage {
  const wrong = (what: string): FsError => new FsError('EIO', `${where}: envelope: ${what}`)
  let envelope: { payloadType?: unknown; payload?: unknown; signatures?: unknown }
  try {
    envelope = JSON.parse(text)
  } catch (error) {
    throw wrong(`not valid JSON (${messageOf(error).slice(0, 120)})`)
  }
  const { payloadType, payload, signatures } = envelope
  if (payloadType !== PAYLOAD_TYPE) throw wrong(`payload of another type than ${PAYLOAD_TYPE}`)
  if (typeof payload !== 'string') throw wrong('no payload')
  if (!Array.isArray(signatures) || signatures.length === 0 || signatures.length > MOST_SIGNATURES) {
    throw wrong(`no list of signatures, or more than ${MOST_SIGNATURES}`)
  }
  const found = signatures.map((one: { sig?: unknown } | null): EnvelopeSignature => {
    if (typeof one?.sig !== 'string') throw wrong('a signature without bytes')
    return { bytes: Buffer.from(one.sig, 'base64') }
  })
  const body = Buffer.from(payload, 'base64')
  // DSSE v1, "PAE": nothing but these two can be meant by the signed bytes.
  const signedBytes = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `),
    body,
  ])
  return {
    form: 'dsse',
    metadata: parseMetadata(body.toString('utf8'), where),
    signedBytes,
    signatures: found,
  }
}

function parseClearSigned(message: Buffer, text: string, where: string): SignatureMessage {
  const [, , body] = CLEAR_SIGNED.exec(text) ?? []
  // A second message in it could be the one that is checked.
  if (body === undefined || text.indexOf('-----BEGIN PGP SIGNED', 1) >= 0) {
    throw new FsError('EIO', `${where}: a clear-signed message with something beside it, or without its end`)
  }
  // RFC 9580, 7.2: lines that begin with a dash are escaped; blanks at their ends do not count.
  const signed = body
    .split(/\r?\n/)
    .map((line) => line.replace(/^- /, '').replace(/[ \t]+$/, ''))
    .join('\n')
  const [, hex] = LEGACY.exec(signed.trimEnd()) ?? []
  if (hex !== undefined) return { form: 'legacy', hex, message }
  return { form: 'pgp', metadata: parseMetadata(signed, where), message }
}
