import * as v from 'valibot'
import { FsError } from '../../base/index.ts'
import { checkAreas } from './areas.ts'
import { type Keyslot, type LuksMetadata, type LuksPlace, type Segment, wrong } from './layout.ts'
import { DigestSchema, KeyslotSchema, MetadataSchema, SegmentSchema } from './schema.ts'

/** Keyslots, segments and digests that a header has, at most: cryptsetup makes no more. */
const MOST_OBJECTS = 32
/** Stripes of a keyslot; cryptsetup makes 4000. */
const MOST_STRIPES = 8000
const SECTOR_SIZES = [512, 1024, 2048, 4096]
/** The only cipher that is read: what cryptsetup makes unless it is told otherwise. */
export const CIPHER = 'aes-xts-plain64'
/** Bytes of a key of AES in XTS mode, which are two keys. */
const KEY_SIZES = [32, 64]

/**
 * Reads the JSON area of a header.
 * @throws FsError EIO for what is no LUKS2 metadata; EOPNOTSUPP, which names it, for what is not read
 */
export function decodeMetadata(area: Uint8Array, place: LuksPlace): LuksMetadata {
  const { label } = place
  const value = parse(MetadataSchema, jsonOf(area, label), label)
  refuseRequirements(value.config.requirements, label)
  for (const [name, objects] of Object.entries({
    keyslots: value.keyslots,
    segments: value.segments,
    digests: value.digests,
  })) {
    const count = Object.keys(objects).length
    if (count > MOST_OBJECTS) throw wrong(label, `${count} ${name}, at most ${MOST_OBJECTS} are possible`)
  }
  const [segmentId, segment] = theSegment(value.segments, place)
  const digests = Object.entries(value.digests).map(([id, digest]) =>
    parse(DigestSchema, digest, label, `digests.${id}`),
  )
  const digest = digests.find(({ segments }) => segments.includes(segmentId))
  if (digest === undefined) throw wrong(label, `no digest for segment ${segmentId}`)
  const keyslots = Object.entries(value.keyslots)
    .filter(([id, { type }]) => type === 'luks2' && digest.keyslots.includes(id))
    .map(([id, slot]) => keyslotOf(Number(id), slot, label))
    .sort((a, b) => b.priority - a.priority || a.id - b.id)
  checkAreas(keyslots, segment, place)
  const { hash, iterations, salt, digest: expected } = digest
  if (expected.length < 16 || expected.length > 64) throw wrong(label, `a digest of ${expected.length} bytes`)
  return { keyslots, segment, digest: { hash, iterations, salt, digest: expected } }
}

/** Changes of the format that a reader must know. @throws FsError EOPNOTSUPP */
function refuseRequirements(requirements: unknown, label: string): void {
  if (requirements === undefined) return
  const { mandatory = [] } = requirements as { readonly mandatory?: unknown }
  const [first] = Array.isArray(mandatory) ? mandatory : ['unknown']
  if (first === undefined) return
  const name = String(first).slice(0, 64)
  const advice = name.includes('reencrypt')
    ? ": its encryption was not finished ('cryptsetup reencrypt')"
    : ''
  throw new FsError('EOPNOTSUPP', `${label}: LUKS2 with the requirement ${JSON.stringify(name)}${advice}`)
}

type Objects = v.InferOutput<typeof MetadataSchema>['segments']

function theSegment(segments: Objects, { label, size }: LuksPlace): [id: string, segment: Segment] {
  const current = Object.entries(segments).filter(
    ([, { flags = [] }]) => !flags.some((flag) => flag.startsWith('backup-')),
  )
  const [first, other] = current
  if (first === undefined || other !== undefined) {
    throw new FsError('EOPNOTSUPP', `${label}: LUKS2 with ${current.length} segments, expected 1`)
  }
  const [id, object] = first
  if (object.type !== 'crypt') {
    throw new FsError('EOPNOTSUPP', `${label}: LUKS2 with a segment of type ${JSON.stringify(object.type)}`)
  }
  const segment = parse(SegmentSchema, object, label, `segments.${id}`)
  if (segment.encryption !== CIPHER) throw otherCipher(label, segment.encryption)
  if (segment.integrity !== undefined) {
    throw new FsError('EOPNOTSUPP', `${label}: LUKS2 with integrity protection (dm-integrity) is not read`)
  }
  const { offset, sector_size: sectorSize, iv_tweak: ivTweak } = segment
  if (!SECTOR_SIZES.includes(sectorSize)) throw wrong(label, `sectors of ${sectorSize} bytes`)
  const room = size - offset
  const bytes = segment.size === 'dynamic' ? room - (room % sectorSize) : segment.size
  if (!(bytes > 0 && bytes <= room)) {
    throw wrong(
      label,
      `its data end at byte ${offset + Math.max(0, bytes)}, and the image at ${size}: it is cut off`,
    )
  }
  if (bytes % sectorSize !== 0) throw wrong(label, `${bytes} bytes are no whole sectors of ${sectorSize}`)
  return [id, { offset, size: bytes, sectorSize, ivTweak }]
}

function keyslotOf(id: number, object: unknown, label: string): Keyslot {
  const where = `keyslots.${id}`
  const { area, af, kdf, priority = 1, ...slot } = parse(KeyslotSchema, object, label, where)
  if (area.encryption !== CIPHER) throw otherCipher(label, area.encryption)
  for (const size of [slot.key_size, area.key_size]) {
    if (!KEY_SIZES.includes(size)) throw wrong(label, `${where}: a key of ${size} bytes`)
  }
  if (af.stripes < 1 || af.stripes > MOST_STRIPES) throw wrong(label, `${where}: ${af.stripes} stripes`)
  return {
    id,
    priority,
    keySize: slot.key_size,
    kdf,
    area: { offset: area.offset, size: area.size, keySize: area.key_size },
    stripes: af.stripes,
    hash: af.hash,
  }
}

function otherCipher(label: string, name: string): FsError {
  return new FsError(
    'EOPNOTSUPP',
    `${label}: is encrypted with ${JSON.stringify(name)}, and only ${CIPHER} is read`,
  )
}

function jsonOf(area: Uint8Array, label: string): unknown {
  const end = area.indexOf(0)
  const text = end < 0 ? area : area.subarray(0, end)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text))
  } catch (error) {
    throw new FsError('EIO', `${label}: LUKS2 metadata: not valid JSON`, { cause: error })
  }
}

/** @throws FsError EIO with the first thing that is wrong */
function parse<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  label: string,
  where = '',
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const field = [where, v.getDotPath(issue) ?? ''].filter(Boolean).join('.').slice(0, 120)
  throw wrong(
    label,
    `${field}: expected ${issue.expected ?? 'another value'}, got ${issue.received.slice(0, 80)}`,
  )
}
