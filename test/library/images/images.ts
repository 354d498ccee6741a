import { closeSync, ftruncateSync, openSync, readSync, statSync } from 'node:fs'
import { run } from '../programs/process.ts'

export type Compressor = 'gzip' | 'lzma' | 'lzo' | 'xz' | 'lz4' | 'zstd'

export const COMPRESSORS: readonly Compressor[] = ['gzip', 'lzma', 'lzo', 'xz', 'lz4', 'zstd']

export interface PackOptions {
  readonly compressor?: Compressor
  /** Bytes, 4 KiB to 1 MiB, a power of two. */
  readonly blockSize?: number
  /** Further arguments of the packer. */
  readonly extra?: readonly string[]
  /** Milliseconds, 300 000 if absent. */
  readonly timeout?: number
}

/**
 * `mksquashfs DIRECTORY IMAGE`. Extended attributes are kept as they are.
 * Deterministic for the same tree: image time 0 and, in mksquashfs since 4.5, reproducible order by default.
 */
export async function mksquashfs(
  directory: string,
  image: string,
  options: PackOptions = {},
): Promise<string> {
  const args = [
    directory,
    image,
    '-noappend',
    '-no-progress',
    '-quiet',
    '-comp',
    options.compressor ?? 'gzip',
  ]
  args.push('-b', `${options.blockSize ?? 131_072}`, '-mkfs-time', '0', ...(options.extra ?? []))
  await run('mksquashfs', args, { timeout: options.timeout ?? 300_000 })
  return image
}

/** `tar | tar2sqfs`: the other writer of the format, with other choices. Tar holds no sockets. */
export async function tar2sqfs(directory: string, image: string, options: PackOptions = {}): Promise<string> {
  const quoted = [
    image,
    '-f',
    '-q',
    '-c',
    options.compressor ?? 'xz',
    '-b',
    `${options.blockSize ?? 131_072}`,
  ]
  await run('bash', ['-c', TAR_PIPE, 'tar2sqfs', directory, ...quoted, ...(options.extra ?? [])], {
    timeout: options.timeout ?? 300_000,
  })
  return image
}

/** A failure on either side of the pipe is a failure. */
const TAR_PIPE = `set -e -o pipefail
dir=$1 image=$2
shift 2
tar --format=pax --xattrs '--xattrs-include=*' --numeric-owner --sort=name -C "$dir" -cf - . | tar2sqfs "$@" "$image"`

/** Superblock, `bytes_used`: length of the file system in bytes, without padding. */
export function bytesUsed(image: string): number {
  const superblock = Buffer.alloc(96)
  const fd = openSync(image, 'r')
  try {
    if (readSync(fd, superblock, 0, 96, 0) !== 96 || superblock.readUInt32LE(0) !== 0x7371_7368) {
      throw new Error(`${image}: no squashfs superblock`)
    }
  } finally {
    closeSync(fd)
  }
  return Number(superblock.readBigUInt64LE(40))
}

export interface VerityOptions {
  /** Bytes, 4096 if absent. */
  readonly dataBlockSize?: number
  readonly hashBlockSize?: number
  /** `sha256` if absent. */
  readonly algorithm?: string
  /** Hex; `-` for none. */
  readonly salt?: string
  readonly uuid?: string
  /** 1 (salt before the data) if absent, 0 as in ChromeOS. */
  readonly hashType?: 0 | 1
  /** Overrides the number of data blocks, to make trees that do not cover the image. */
  readonly dataBlocks?: number
}

export interface VerityResult {
  /** Lower-case hex. */
  readonly rootHash: string
  /** Position of the verity superblock: `bytes_used` rounded up to 4096. */
  readonly hashOffset: number
}

/** Appends a dm-verity superblock and hash tree to a squashfs image, where stacker and atomfs put it. */
export async function appendVerity(image: string, options: VerityOptions = {}): Promise<VerityResult> {
  const dataBlockSize = options.dataBlockSize ?? 4096
  const hashOffset = Math.ceil(bytesUsed(image) / 4096) * 4096
  const fd = openSync(image, 'r+')
  try {
    // Cuts the padding of the packer or fills it up, so that the tree stands at its place.
    ftruncateSync(fd, hashOffset)
  } finally {
    closeSync(fd)
  }
  const dataBlocks = options.dataBlocks ?? Math.floor(hashOffset / dataBlockSize)
  const args = [
    'format',
    image,
    image,
    `--hash-offset=${hashOffset}`,
    `--data-blocks=${dataBlocks}`,
    `--data-block-size=${dataBlockSize}`,
    `--hash-block-size=${options.hashBlockSize ?? 4096}`,
    `--hash=${options.algorithm ?? 'sha256'}`,
    `--format=${options.hashType ?? 1}`,
    `--salt=${options.salt ?? '5a'.repeat(32)}`,
    `--uuid=${options.uuid ?? '00000000-0000-4000-8000-000000000001'}`,
  ]
  const { stdout } = await run('veritysetup', args, {
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  })
  const rootHash = /^Root hash:\s+([0-9a-f]+)$/m.exec(stdout)?.[1]
  if (rootHash === undefined) throw new Error(`veritysetup gave no root hash: ${stdout}`)
  if (statSync(image).size <= hashOffset) throw new Error(`${image}: veritysetup wrote nothing`)
  return { rootHash, hashOffset }
}
