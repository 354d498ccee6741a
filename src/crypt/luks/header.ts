import { createHash } from 'node:crypto'
import { type ByteSource, FsError, viewOf } from '../../base/index.ts'
import type { LuksMetadata } from './layout.ts'
import { HEADER_SIZES, type HeaderCopy, isHeaderMagic } from './magic.ts'
import { decodeMetadata } from './metadata.ts'

/** Bytes of the binary header, in front of the JSON area (LUKS2 On-Disk Format, 2.1). */
const BINARY_SIZE = 4096
const CHECKSUM_AT = 448
const CHECKSUM_SIZE = 64
/** Hashes that a header may have as its checksum, and those that `node:crypto` has for them. */
const CHECKSUMS: ReadonlySet<string> = new Set(['sha256', 'sha384', 'sha512', 'sha1'])

/** The header of an encrypted image. */
export interface LuksHeader {
  readonly uuid: string
  readonly metadata: LuksMetadata
  /** What is wrong with the other copy, one line. */
  readonly remark?: string
}

/** One copy of the header whose checksum is right. */
interface Copy {
  /** Counts the changes of the header. */
  readonly sequence: bigint
  readonly uuid: string
  readonly json: Uint8Array
}

/**
 * Reads the header of an encrypted image: of its two copies the newer one that is whole.
 * @param image from the first byte of the primary header
 * @throws FsError EINVAL for LUKS1; EIO where no copy is usable; EOPNOTSUPP for what is not read
 */
export function readLuksHeader(image: ByteSource): LuksHeader {
  const { label } = image
  refuseOldVersion(image)
  const primary = tryCopy(image, 0, 'primary')
  const secondary = findSecondary(image, primary)
  const usable = [primary, secondary].filter((copy) => 'copy' in copy)
  const [first, other] = usable
  if (first === undefined) {
    const reasons = [primary, secondary].map((copy) => ('problem' in copy ? copy.problem : '')).join('; ')
    throw new FsError('EIO', `${label}: both copies of its LUKS2 header are damaged: ${reasons}`)
  }
  const newest = other !== undefined && other.copy.sequence > first.copy.sequence ? other : first
  const damaged = [primary, secondary].find((copy) => 'problem' in copy)
  const metadata = decodeMetadata(newest.copy.json, {
    label,
    size: image.size,
    headersEnd: 2 * newest.size,
  })
  return {
    uuid: newest.copy.uuid,
    metadata,
    ...(damaged !== undefined && 'problem' in damaged
      ? { remark: `one copy of its LUKS2 header is damaged: ${damaged.problem}` }
      : {}),
  }
}

type Found =
  | { readonly copy: Copy; readonly size: number }
  | { readonly problem: string; readonly hasMagic: boolean }

/** Those of the first version have their own form, and nothing in common with the second but the magic number. */
function refuseOldVersion(image: ByteSource): void {
  const head = new Uint8Array(8)
  if (image.size < head.length) return
  image.readInto(0, head)
  if (!isHeaderMagic(head, 'primary')) return
  const version = viewOf(head).getUint16(6)
  if (version !== 1) return
  throw new FsError(
    'EINVAL',
    `${image.label}: is encrypted with LUKS1, and only LUKS2 is read ('cryptsetup convert --type luks2' makes it that)`,
  )
}

/** It lies behind the first copy; where that one is damaged, at one of few places. */
function findSecondary(image: ByteSource, primary: Found): Found {
  if (!('problem' in primary)) return tryCopy(image, primary.size, 'secondary')
  let problem = 'no second copy is there'
  for (const offset of HEADER_SIZES) {
    const found = tryCopy(image, offset, 'secondary')
    if (!('problem' in found)) return found
    if (found.hasMagic) ({ problem } = found)
  }
  return { problem, hasMagic: false }
}

function tryCopy(image: ByteSource, offset: number, which: HeaderCopy): Found {
  const wrong = (what: string, hasMagic = true): Found => ({
    problem: `the ${which} copy at byte ${offset} ${what}`,
    hasMagic,
  })
  if (offset + BINARY_SIZE > image.size) return wrong(`does not lie in the ${image.size} bytes`, false)
  const binary = Buffer.alloc(BINARY_SIZE)
  image.readInto(offset, binary)
  if (!isHeaderMagic(binary, which)) return wrong('has another magic number', false)
  const view = viewOf(binary)
  const version = view.getUint16(6)
  if (version !== 2) return wrong(`has version ${version}, expected 2`)
  const size = Number(view.getBigUint64(8))
  if (!HEADER_SIZES.includes(size) || offset + size > image.size)
    return wrong(`says that it has ${size} bytes`)
  if (which === 'secondary' && size !== offset) return wrong(`says that it has ${size} bytes`)
  if (Number(view.getBigUint64(256)) !== offset) return wrong('says that it lies elsewhere')
  const algorithm = textAt(binary, 72, 32)
  if (!CHECKSUMS.has(algorithm)) return wrong(`has a checksum by ${JSON.stringify(algorithm.slice(0, 32))}`)
  const json = Buffer.alloc(size - BINARY_SIZE)
  image.readInto(offset + BINARY_SIZE, json)
  const stored = binary.subarray(CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_SIZE)
  const cleared = Buffer.from(binary).fill(0, CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_SIZE)
  const expected = createHash(algorithm).update(cleared).update(json).digest()
  if (!expected.equals(stored.subarray(0, expected.length))) return wrong('does not match its checksum')
  return { copy: { sequence: view.getBigUint64(16), uuid: textAt(binary, 168, 40), json }, size }
}

function textAt(bytes: Buffer, at: number, size: number): string {
  const field = bytes.subarray(at, at + size)
  const end = field.indexOf(0)
  return field.subarray(0, end < 0 ? size : end).toString('latin1')
}
