import fs from 'node:fs'
import { readSuperblock, type Superblock } from '../../squashfs/index.ts'
import { type ByteSource, FsError, type PathText, systemPath } from '../base/index.ts'
import { FileSource, WindowSource } from '../sys/file-source.ts'
import {
  DEFAULT_CACHE_BYTES,
  openVerity,
  type ScanReport,
  VerifiedSource,
  type VerityCounters,
  type VerityFailure,
  verifyRange,
} from '../verity/index.ts'
import type { ImageSpec, VerifyMode } from './spec.ts'

/** A layer up to this size is verified whole at mount with `--verify=auto`, bytes. */
const SMALL_LAYER = 8 << 20

/** One image file as named by the manifest or the command line. */
export interface ImageFile {
  readonly label: string
  readonly path: PathText
  /** Opens it where a path does not suffice; by default what `path` leads to is opened. */
  readonly open?: () => number
  readonly offset?: number
  /** Hex. */
  readonly rootHash?: string
}

export interface OpenImage {
  readonly spec: ImageSpec
  readonly superblock: Superblock
}

/**
 * Opens one image file and reads its superblock, through verification where there is a root hash.
 * @throws FsError with one line; nothing stays open then
 */
export function openImage(file: ImageFile): OpenImage {
  const fd = openFile(file)
  try {
    const offset = file.offset ?? 0
    const fileSize = sizeOf(fd, file)
    if (offset >= fileSize && fileSize > 0) {
      throw new FsError(
        'EINVAL',
        `${file.path}: offset ${offset} is at or behind the end (${fileSize} bytes)`,
      )
    }
    const size = fileSize - offset
    const raw = rawSource({ label: file.label, fd, offset, size })
    const verified =
      file.rootHash === undefined
        ? undefined
        : openVerity({
            source: raw,
            rootHash: file.rootHash,
            dataLength: (source) => readSuperblock(source).bytesUsed,
          })
    const superblock = readSuperblock(verified ?? raw)
    const spec: ImageSpec = {
      label: file.label,
      fd,
      offset,
      size,
      compressor: superblock.compressor,
      blockSize: superblock.blockSize,
      ...(verified === undefined ? {} : { verity: verified.table }),
    }
    return { spec, superblock }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

/** The file as it lies on disk, from the image's first byte. */
export function rawSource(spec: Pick<ImageSpec, 'label' | 'fd' | 'offset' | 'size'>): ByteSource {
  const file = new FileSource(spec.fd, spec.label, spec.offset + spec.size)
  return spec.offset === 0 ? file : new WindowSource(file, spec.offset, spec.size)
}

/** Who wants to know what verification finds. */
export interface VerityWatch {
  readonly counters: VerityCounters
  readonly onFailure: (failure: VerityFailure) => void
}

/**
 * What squashfs may read: verified bytes where there is a root hash. One instance for each thread.
 * @param cacheBytes most bytes of verified hash blocks to keep
 * @param guard put around the file, below verification
 */
export function imageSource(
  spec: ImageSpec,
  watch?: VerityWatch,
  cacheBytes = DEFAULT_CACHE_BYTES,
  guard: (source: ByteSource) => ByteSource = (source) => source,
): ByteSource {
  const source = guard(rawSource(spec))
  return spec.verity === undefined
    ? source
    : new VerifiedSource({ source, table: spec.verity, cacheBytes, ...watch })
}

/**
 * Verifies at mount what the mode asks for.
 * @throws FsError EIO with the first damaged block
 */
export function verifyAtMount({ spec, superblock }: OpenImage, mode: VerifyMode): void {
  const table = spec.verity
  if (table === undefined || mode === 'lazy') return
  const whole = mode === 'eager' || superblock.bytesUsed <= SMALL_LAYER
  const from = whole ? 0 : Math.floor(superblock.inodeTable / table.dataBlockSize)
  const report = verifyRange({ source: rawSource(spec), table, from, listLimit: 1 })
  if (report.badBlocks > 0) throw new FsError('EIO', `layer ${spec.label}: ${describeScan(report)}`)
}

/** One line for a scan that found damage. */
export function describeScan(report: ScanReport): string {
  const [failure] = report.failures
  const [unreadable] = report.unreadable
  const first =
    failure !== undefined
      ? `first at byte ${failure.position}: expected ${failure.expected} got ${failure.actual}`
      : `first at byte ${unreadable?.position}: ${unreadable?.message}`
  return `${report.badBlocks} blocks do not match the root hash, ${first}`
}

function openFile(file: ImageFile): number {
  if (file.open !== undefined) return file.open()
  try {
    return fs.openSync(systemPath(file.path), 'r')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'EIO'
    const advice = code === 'EACCES' ? ' (make it readable for the user who mounts)' : ''
    throw new FsError(
      code === 'ENOENT' ? 'ENOENT' : 'EIO',
      `${file.path}: cannot be opened: ${code}${advice}`,
    )
  }
}

function sizeOf(fd: number, file: ImageFile): number {
  const stat = fs.fstatSync(fd)
  if (stat.isFile()) return stat.size
  if (stat.isBlockDevice()) {
    // fstat(2) says 0 for a device; its size is in units of 512 bytes here whatever its sectors are (sysfs-block).
    const [major, minor] = [(stat.rdev >>> 8) & 0xfff, (stat.rdev & 0xff) | ((stat.rdev >>> 12) & 0xfff00)]
    return Number(fs.readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512
  }
  throw new FsError('EINVAL', `${file.path}: is neither a file nor a block device`)
}
