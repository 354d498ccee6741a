import * as v from 'valibot'
import { FsError, messageOf } from '../base/index.ts'
import { quote } from './digest.ts'

/**
 * What we read of the documents of the image specification. Objects are loose: fields that we do not know are
 * none of our business, fields that we use are checked before use.
 */
const Size = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096))
const Annotations = v.record(v.string(), v.string())

export const PlatformSchema = v.looseObject({
  os: v.string(),
  architecture: v.string(),
  variant: v.optional(v.string()),
})

/** descriptor.md, "Properties". */
export const DescriptorSchema = v.looseObject({
  mediaType: Text,
  digest: Text,
  size: Size,
  // Go writers marshal an empty map as null.
  annotations: v.nullish(Annotations),
  platform: v.nullish(PlatformSchema),
})

const Checked = v.custom<v.InferOutput<typeof DescriptorSchema>>(() => true)

/**
 * The manifest of a PuzzleFS image describes each chunk of its data. Those are passed over in a tenth of the time that their
 * schema takes; it checks all others, and says what is wrong.
 */
const LayerSchema = v.lazy((value) => (isPlainDescriptor(value) ? Checked : DescriptorSchema))

/** Whether a value has right fields and none of those that are hard to check. */
function isPlainDescriptor(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { mediaType, digest, size, annotations, platform } = value as Partial<Record<string, unknown>>
  const isText = (text: unknown): boolean =>
    typeof text === 'string' && text.length > 0 && text.length <= 4096
  const isPlain = annotations === undefined && platform === undefined
  return isPlain && isText(mediaType) && isText(digest) && Number.isSafeInteger(size) && (size as number) >= 0
}

/** image-layout.md, "oci-layout file". */
export const LayoutSchema = v.looseObject({ imageLayoutVersion: v.string() })

/** What tells one version of a document from another. */
export const VersionSchema = v.looseObject({ schemaVersion: v.optional(v.unknown()) })

/** image-index.md. `schemaVersion` may be removed in a later version, so its absence is fine. */
export const IndexSchema = v.looseObject({
  schemaVersion: v.optional(v.literal(2)),
  mediaType: v.optional(v.string()),
  manifests: v.array(DescriptorSchema),
})

/** manifest.md, "Image Manifest Property Descriptions". */
export const ManifestSchema = v.looseObject({
  schemaVersion: v.optional(v.literal(2)),
  mediaType: v.optional(v.string()),
  config: DescriptorSchema,
  layers: v.array(LayerSchema),
})

/** What tells a manifest from an index, where nothing but a digest is known. */
export const DocumentSchema = v.looseObject({ mediaType: v.optional(v.string()) })

/** config.md; artefacts use other documents in its place, so nothing is required but a JSON object. */
export const ConfigSchema = v.looseObject({
  os: v.optional(v.string()),
  architecture: v.optional(v.string()),
  variant: v.optional(v.string()),
})

export type Descriptor = v.InferOutput<typeof DescriptorSchema>
export type ImageIndex = v.InferOutput<typeof IndexSchema>
export type Manifest = v.InferOutput<typeof ManifestSchema>
/** The image configuration as the image has it. */
export type ImageConfig = v.InferOutput<typeof ConfigSchema>

/**
 * Parses JSON and checks it.
 * @param where names the document in messages.
 * @throws FsError EIO with the first thing that is wrong.
 */
export function parseDocument<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array,
  where: string,
): v.InferOutput<S> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new FsError('EIO', `${where}: not valid JSON (${reasonOf(error)})`, { cause: error })
  }
  return parseValue(schema, value, where)
}

/** Checks what JSON has given. @throws FsError EIO with the first thing that is wrong */
export function parseValue<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  where: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const issue = result.issues[0]
  const field = (v.getDotPath(issue) ?? 'document').slice(0, 120)
  const isEmpty = issue.type === 'min_length' && issue.input === ''
  const reason =
    issue.received === 'undefined'
      ? ' is missing'
      : isEmpty
        ? ' is empty'
        : `: expected ${issue.expected ?? 'another value'}, got ${issue.received.slice(0, 120)}`
  throw new FsError('EIO', `${where}: ${field}${reason}`)
}

function reasonOf(error: unknown): string {
  // V8 puts a piece of the text into the message: keep the line short and printable.
  return quote(messageOf(error)).slice(1, -1)
}
