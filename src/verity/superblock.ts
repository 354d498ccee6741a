import { ByteReader, FsError, viewOf } from '../base/index.ts'
import { checkParameters, type HashType, MAX_SALT_SIZE, type VerityParameters } from './table.ts'

/** Bytes of a verity superblock. */
export const VERITY_SUPERBLOCK_SIZE = 512
/** The first bytes of a verity superblock. */
export const VERITY_SIGNATURE = 'verity\0\0'
const ALGORITHM_SIZE = 32

/** cryptsetup, DMVerity: "Verity superblock format". */
export interface VeritySuperblock extends VerityParameters {
  /** In the usual form with dashes. It identifies the tree and takes part in no hash. */
  readonly uuid: string
}

/** Whether the bytes begin as a superblock does. */
export function hasVeritySignature(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 8)).toString('latin1') === VERITY_SIGNATURE
}

/**
 * Decodes the 512 bytes of a superblock and checks every field. None of it is trusted: a forged field makes
 * the root hash fail. The padding is ignored, as veritysetup does.
 * @throws FsError EIO
 */
export function decodeVeritySuperblock(bytes: Uint8Array, what = 'verity superblock'): VeritySuperblock {
  const reader = ByteReader.over(bytes, what)
  if (!hasVeritySignature(reader.bytes(8))) throw new FsError('EIO', `${what}: no signature "verity"`)
  const version = reader.u32()
  if (version !== 1) throw new FsError('EIO', `${what}: version ${version}, expected 1`)
  const hashType = decodeHashType(reader.u32(), what)
  const uuid = formatUuid(reader.bytes(16))
  const algorithm = decodeName(reader.bytes(ALGORITHM_SIZE), what)
  const dataBlockSize = reader.u32()
  const hashBlockSize = reader.u32()
  const dataBlocks = reader.offset64()
  const saltSize = reader.u16()
  if (saltSize > MAX_SALT_SIZE) {
    throw new FsError('EIO', `${what}: salt of ${saltSize} bytes, at most ${MAX_SALT_SIZE}`)
  }
  reader.skip(6)
  const salt = reader.bytes(MAX_SALT_SIZE).slice(0, saltSize)
  reader.skip(168)
  const superblock = { uuid, hashType, algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt }
  checkParameters(superblock, what)
  return superblock
}

/**
 * The 512 bytes of a superblock.
 * @throws FsError EIO where a value is outside the format; EINVAL for a malformed UUID
 */
export function encodeVeritySuperblock(superblock: VeritySuperblock): Uint8Array {
  checkParameters(superblock, 'verity superblock')
  const bytes = Buffer.alloc(VERITY_SUPERBLOCK_SIZE)
  const view = viewOf(bytes)
  bytes.write(VERITY_SIGNATURE, 0, 'latin1')
  view.setUint32(8, 1, true)
  view.setUint32(12, superblock.hashType, true)
  bytes.set(parseUuid(superblock.uuid), 16)
  bytes.write(superblock.algorithm, 32, ALGORITHM_SIZE, 'latin1')
  view.setUint32(64, superblock.dataBlockSize, true)
  view.setUint32(68, superblock.hashBlockSize, true)
  view.setBigUint64(72, BigInt(superblock.dataBlocks), true)
  view.setUint16(80, superblock.salt.byteLength, true)
  bytes.set(superblock.salt, 88)
  return bytes
}

function decodeHashType(value: number, what: string): HashType {
  if (value === 0 || value === 1) return value
  throw new FsError('EIO', `${what}: hash type ${value}, not 0 or 1`)
}

function decodeName(field: Uint8Array, what: string): string {
  const text = Buffer.from(field).toString('latin1')
  const end = text.indexOf('\0')
  // A name that fills the field is legal for strncpy, but no hash function has one.
  if (end <= 0) throw new FsError('EIO', `${what}: hash algorithm name is empty or has no end`)
  return text.slice(0, end)
}

function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
  return groups.join('-')
}

function parseUuid(uuid: string): Uint8Array {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)) {
    throw new FsError('EINVAL', `verity superblock: ${JSON.stringify(uuid.slice(0, 80))} is no UUID`)
  }
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}
