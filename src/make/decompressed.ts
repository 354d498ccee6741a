import { Readable } from 'node:stream'
import * as zlib from 'node:zlib'
import { FsError, messageOf } from '../base/index.ts'

type Bytes = AsyncIterable<Uint8Array>

/** Compressed forms of a whole archive: how it begins, and what undoes it. */
const FORMS: readonly {
  readonly name: string
  readonly program: string
  readonly begins: (head: Buffer) => boolean
  readonly decoder?: () => NodeJS.ReadWriteStream | undefined
}[] = [
  {
    name: 'gzip',
    program: 'gzip',
    begins: (head) => head.readUInt16BE(0) === 0x1f8b,
    decoder: () => zlib.createGunzip(),
  },
  {
    name: 'zstd',
    program: 'zstd',
    // A frame, or one to be skipped (RFC 8878, 3.1).
    begins: (head) => head.readUInt32LE(0) === 0xfd2f_b528 || head.readUInt32LE(0) >>> 4 === 0x184_d2a5,
    decoder: () => (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress?.(),
  },
  { name: 'xz', program: 'xz', begins: (head) => head.toString('latin1').startsWith('\xfd7zXZ\0') },
  { name: 'bzip2', program: 'bzip2', begins: (head) => head.toString('latin1').startsWith('BZh') },
]
const HEAD = 6

/** Whether bytes are the beginning of compressed data. */
export function isCompressed(head: Buffer): boolean {
  return head.length >= HEAD && FORMS.some(({ begins }) => begins(head))
}

/**
 * The bytes of a stream, decompressed if they are compressed.
 * @throws FsError EOPNOTSUPP for a form that is not read here; EIO for damaged data
 */
export async function* decompressed(stream: Bytes, label: string): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(stream)
  const form = head.length < HEAD ? undefined : FORMS.find(({ begins }) => begins(head))
  if (form === undefined) {
    yield* whole
    return
  }
  const decoder = form.decoder?.()
  if (decoder === undefined) {
    const how = `${form.program} -dc ${label} | atomfs-fuse pack - …`
    throw new FsError(
      'EOPNOTSUPP',
      `${label} is compressed with ${form.name}, which is not read here: try ${how}`,
    )
  }
  const source = Readable.from(whole)
  source.on('error', (error) => (decoder as unknown as Readable).destroy(error))
  try {
    yield* source.pipe(decoder) as unknown as Bytes
  } catch (error) {
    if (error instanceof FsError) throw error
    throw new FsError('EIO', `${label}: damaged ${form.name} data: ${messageOf(error)}`, { cause: error })
  } finally {
    source.destroy()
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
