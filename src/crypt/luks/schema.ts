import * as v from 'valibot'

/**
 * What is read of the JSON metadata (LUKS2 On-Disk Format, 3). Objects are loose: tokens, labels and what later versions
 * add is none of our business; what is used is checked. Numbers of 64 bits are texts there.
 */
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Long = v.pipe(v.string(), v.regex(/^\d{1,20}$/), v.transform(Number), v.number(), v.safeInteger())
const Word = v.pipe(v.string(), v.maxLength(64))
/** Salts and digests: 64 bytes are as many as any has. */
const Bytes = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^[A-Za-z0-9+/]*={0,2}$/),
  v.transform((text) => Buffer.from(text, 'base64')),
)
const Id = v.pipe(v.string(), v.regex(/^\d{1,3}$/))
const Ids = v.pipe(v.array(Id), v.maxLength(256))

export const KdfSchema = v.variant('type', [
  v.looseObject({
    type: v.picklist(['argon2i', 'argon2id']),
    salt: Bytes,
    time: Count,
    /** KiB. */
    memory: Count,
    cpus: Count,
  }),
  v.looseObject({ type: v.literal('pbkdf2'), salt: Bytes, hash: Word, iterations: Count }),
])

/** A keyslot of type `luks2`. Others exist while a device is reencrypted, and are passed over. */
export const KeyslotSchema = v.looseObject({
  type: v.literal('luks2'),
  key_size: Count,
  /** 0: only used where it is asked for by its number; 1: normal; 2: first. */
  priority: v.optional(Count),
  af: v.looseObject({ type: v.literal('luks1'), stripes: Count, hash: Word }),
  area: v.looseObject({
    type: v.literal('raw'),
    offset: Long,
    size: Long,
    encryption: Word,
    key_size: Count,
  }),
  kdf: KdfSchema,
})

export const SegmentSchema = v.looseObject({
  type: v.literal('crypt'),
  offset: Long,
  size: v.union([v.literal('dynamic'), Long]),
  iv_tweak: Long,
  encryption: Word,
  sector_size: Count,
  integrity: v.optional(v.unknown()),
})

export const DigestSchema = v.looseObject({
  type: v.literal('pbkdf2'),
  keyslots: Ids,
  segments: Ids,
  hash: Word,
  iterations: Count,
  salt: Bytes,
  digest: Bytes,
})

const Typed = v.looseObject({ type: Word, flags: v.optional(v.pipe(v.array(Word), v.maxLength(16))) })
const Objects = v.record(Id, Typed)

export const MetadataSchema = v.looseObject({
  keyslots: Objects,
  segments: Objects,
  digests: Objects,
  config: v.looseObject({
    json_size: Long,
    keyslots_size: Long,
    requirements: v.optional(v.unknown()),
  }),
})

export type Kdf = v.InferOutput<typeof KdfSchema>
