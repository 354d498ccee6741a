import { FsError, messageOf } from '../../src/base/index.ts'
import { quoted } from '../types.ts'

/** A digest `algorithm:hex` of signed metadata. */
export interface SignedDigest {
  /** As `node:crypto` names it. */
  readonly algorithm: string
  /** Lower case. */
  readonly hex: string
}

/** What a signature says of one object. */
export interface SignedObject {
  /** Number of the object less the smallest number of its group. */
  readonly relativeId: number
  readonly descriptor: SignedDigest
  readonly data: SignedDigest
}

/** What a signature covers (`integrity/metadata.go`). */
export interface SignedMetadata {
  readonly header: SignedDigest
  readonly objects: readonly SignedObject[]
}

/** The algorithms that such metadata may name: name for `node:crypto`, and digits. */
const ALGORITHMS: Readonly<Record<string, readonly [name: string, digits: number]>> = {
  sha224: ['sha224', 56],
  sha256: ['sha256', 64],
  sha384: ['sha384', 96],
  sha512: ['sha512', 128],
  sha512_224: ['sha512-224', 56],
  sha512_256: ['sha512-256', 64],
}

/** More objects than a table has records. */
const MOST_OBJECTS = 65_536

/**
 * Reads the JSON that a signature covers.
 * @param where names the signature in messages
 * @throws FsError EIO where it is anything else
 */
export function parseMetadata(text: string, where: string): SignedMetadata {
  const wrong = (what: string): FsError => new FsError('EIO', `${where}: signed metadata: ${what}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw wrong(`not valid JSON (${quoted(messageOf(error))})`)
  }
  const { version, header, objects } = fieldsOf(value, wrong)
  if (version !== 1) throw wrong(`version ${quoted(String(version))}, expected 1`)
  if (!Array.isArray(objects) || objects.length === 0 || objects.length > MOST_OBJECTS) {
    throw wrong('no list of objects')
  }
  const digest = (one: unknown, what: string): SignedDigest => digestOf(one, what, wrong)
  const found = objects.map((one: unknown): SignedObject => {
    const { relativeId, descriptorDigest, objectDigest } = fieldsOf(one, wrong)
    if (typeof relativeId !== 'number' || !Number.isInteger(relativeId) || relativeId < 0) {
      throw wrong(`relativeId ${quoted(String(relativeId))}, expected a number`)
    }
    return {
      relativeId,
      descriptor: digest(descriptorDigest, 'descriptorDigest'),
      data: digest(objectDigest, 'objectDigest'),
    }
  })
  if (new Set(found.map(({ relativeId }) => relativeId)).size < found.length)
    throw wrong('an object stands in it twice')
  return { header: digest(fieldsOf(header, wrong)['digest'], 'header digest'), objects: found }
}

function fieldsOf(value: unknown, wrong: (what: string) => FsError): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('an object is missing')
  return { ...value }
}

function digestOf(value: unknown, what: string, wrong: (what: string) => FsError): SignedDigest {
  const [, name = '', hex = ''] =
    (typeof value === 'string' && /^([a-z0-9_]+):([0-9a-f]+)$/.exec(value)) || []
  const known = Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name] : undefined
  if (known === undefined || hex.length !== known[1]) {
    throw wrong(
      `${what} ${quoted(String(value))}, expected one of ${Object.keys(ALGORITHMS).join(', ')} and its digits`,
    )
  }
  return { algorithm: known[0], hex }
}
