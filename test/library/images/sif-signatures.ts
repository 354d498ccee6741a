import { createHash, type KeyObject, sign } from 'node:crypto'
import { makeSif, SIF_TYPE, type SifPart, type SifShape } from './sif.ts'

const RECORD = 585
const PAYLOAD = 'application/vnd.sylabs.sif-metadata+json'

/** What may stand in the place of the signed metadata. */
export type Metadata = {
  version: number
  header: { digest: string }
  objects: { relativeId: number; descriptorDigest: string; objectDigest: string }[]
}

/** The metadata that a signer makes of the objects of group 1, which have numbers from 1 (`integrity/sign.go`). */
export function metadataOf(shape: SifShape, algorithm = 'sha256'): Metadata {
  const bytes = makeSif(shape)
  const hash = (...parts: readonly Uint8Array[]): string => {
    const sum = createHash(algorithm)
    for (const part of parts) sum.update(part)
    return `${algorithm}:${sum.digest('hex')}`
  }
  const objects = shape.parts.map((part, slot) => {
    const at = 4096 + slot * RECORD
    const record = bytes.subarray(at, at + RECORD)
    const relativeId = Buffer.alloc(4)
    relativeId.writeUInt32LE(slot)
    const cut = (from: number, to: number): Buffer => record.subarray(from, to)
    const descriptor = [
      cut(0, 5),
      relativeId,
      cut(13, 17),
      cut(25, 33),
      cut(41, 49),
      cut(57, 65),
      cut(65, 73),
      cut(73, 201),
      cut(201, RECORD),
    ]
    return {
      relativeId: slot,
      descriptorDigest: hash(...descriptor),
      objectDigest: hash(part.data ?? Buffer.alloc(0)),
    }
  })
  return { version: 1, header: { digest: hash(bytes.subarray(0, 45), bytes.subarray(48, 64)) }, objects }
}

/** The bytes that an envelope signs (DSSE v1). */
function preAuthenticated(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD.length} ${PAYLOAD} ${body.length} `), body])
}

/** An envelope with one signature. */
export function envelope(metadata: Metadata, key: KeyObject, hash: string | null = null): Buffer {
  const body = Buffer.from(JSON.stringify(metadata))
  const sig = sign(hash, preAuthenticated(body), key).toString('base64')
  return Buffer.from(
    JSON.stringify({
      payloadType: PAYLOAD,
      payload: body.toString('base64'),
      signatures: [{ keyid: 'SHA256:x', sig }],
    }),
  )
}

/** The object of a signature over group 1. */
export function signaturePart(data: Buffer, fingerprint = '00'.repeat(20)): SifPart {
  const extra = Buffer.concat([Buffer.from('01000000', 'hex'), Buffer.from(fingerprint, 'hex')])
  return { type: SIF_TYPE.signature, data, group: 0, link: 1, linksGroup: true, extra }
}
