import { Readable } from 'node:stream'
import * as zlib from 'node:zlib'
import { FsError, messageOf } from '../base/index.ts'
import { openStreamDecoder, type StreamDecoder, type StreamName } from '../codecs/streams/index.ts'

type Bytes = AsyncIterable<Uint8Array>

/** A compressed form of a whole archive: how it begins, and what undoes it. */
interface Form {
  readonly name: string
  readonly begins: (head: Buffer) => boolean
  /** Of Node, whose decoders run beside this thread. */
  readonly transform?: () => NodeJS.ReadWriteStream | undefined
  /** By a library of the machine. */
  readonly library?: StreamName
}

const FORMS: readonly Form[] = [
  {
    name: 'gzip',
    begins: (head) => head.readUInt16BE(0) === 0x1f8b,
    transform: () => zlib.createGunzip(),
  },
  {
    name: 'zstd',
    // A frame, or one to be skipped (RFC 8878, 3.1).
    begins: (head) => head.readUInt32LE(0) === 0xfd2f_b528 || head.readUInt32LE(0) >>> 4 === 0x184_d2a5,
    // Node 22.15 and later.
    transform: () =>
      (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress?.(),
    library: 'zstd',
  },
  { name: 'xz', begins: (head) => head.toString('latin1').startsWith('\xfd7zXZ\0'), library: 'xz' },
  { name: 'bzip2', begins: (head) => head.toString('latin1').startsWith('BZh'), library: 'bzip2' },
]
const HEAD = 6

/** Whether bytes are the beginning of compressed data. */
export function isCompressed(head: Buffer): boolean {
  return head.length >= HEAD && FORMS.some(({ begins }) => begins(head))
}

/**
 * The bytes of a stream, decompressed if they are compressed.
 * @throws FsError EOPNOTSUPP for a form that nothing here decodes; EIO for damaged data
 */
export async function* decompressed(stream: Bytes, label: string): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(stream)
  const form = head.length < HEAD ? undefined : FORMS.find(({ begins }) => begins(head))
  const decoder = form && bytesOf(form, whole)
  if (form === undefined) {
    yield* whole
  } else if (decoder === undefined) {
    await whole.return(undefined)
    const how = `${form.name} -dc ${label} | atomfs-fuse pack - …`
    throw new FsError(
      'EOPNOTSUPP',
      `${label} is compressed with ${form.name}, and no library here decodes it: try ${how}`,
    )
  } else {
    yield* damageNamed(decoder, `${label}: damaged ${form.name} data`)
  }
}

/** @returns undefined if this machine cannot */
function bytesOf(
  { transform, library }: Form,
  whole: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> | undefined {
  const node = transform?.()
  if (node !== undefined) return piped(whole, node)
  const decoder = library === undefined ? undefined : openStreamDecoder(library)
  return decoder && decodedBy(decoder, whole)
}

async function* piped(whole: Bytes, decoder: NodeJS.ReadWriteStream): AsyncGenerator<Uint8Array> {
  const source = Readable.from(whole)
  source.on('error', (error) => (decoder as unknown as Readable).destroy(error))
  try {
    yield* source.pipe(decoder) as unknown as Bytes
  } finally {
    source.destroy()
  }
}

async function* decodedBy(decoder: StreamDecoder, whole: Bytes): AsyncGenerator<Uint8Array> {
  // Held here, because the decoder knows its address only.
  let input: Uint8Array | undefined
  try {
    for await (const chunk of whole) {
      input = chunk
      yield* decoder.decode(input)
    }
    yield* decoder.finish()
  } finally {
    input = undefined
    decoder.close()
  }
}

/** Errors of the stream itself say what they are about; those of a decoder do not. */
async function* damageNamed(bytes: Bytes, what: string): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (error) {
    if (error instanceof FsError) throw error
    throw new FsError('EIO', `${what}: ${messageOf(error)}`, { cause: error })
  }
}

/** Takes the first bytes, and gives them back with the others. */
async function peek(
  stream: Bytes,
): Promise<{ readonly head: Buffer; readonly whole: AsyncGenerator<Uint8Array> }> {
  const chunks = stream[Symbol.asyncIterator]()
  const taken: Uint8Array[] = []
  let length = 0
  while (length < HEAD) {
    const { value, done } = await chunks.next()
    if (done === true) break
    taken.push(value)
    length += value.length
  }
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* taken
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
    } finally {
      await chunks.return?.()
    }
  }
  return { head: Buffer.concat(taken), whole: whole() }
}
