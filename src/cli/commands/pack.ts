import { createReadStream, statSync } from 'node:fs'
import { constants } from 'node:os'
import { type PathText, systemPath, UsageError, withFsError } from '../../base/index.ts'
import {
  compressionOf,
  type PackedImage,
  type PackOptions,
  type PackSource,
  pack as packTree,
  sizeOfTree,
  type Whiteouts,
} from '../../make/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { formatBytes, formatLines } from '../print/format.ts'
import { startProgress } from '../print/progress.ts'

const READ_AHEAD = 1 << 20

export interface PackFlags {
  readonly compression?: string
  readonly blockSize?: string
  readonly fragments?: boolean
  readonly tailEnds?: boolean
  readonly duplicates?: boolean
  readonly export?: boolean
  readonly padding?: boolean
  readonly uncompressed?: string
  readonly whiteouts?: string
  readonly allRoot?: boolean
  readonly verity?: boolean
  readonly salt?: string
  readonly threads?: string
  readonly force?: boolean
  readonly quiet?: boolean
  readonly json?: boolean
}

/** Runs `pack`: makes the image FILE of a directory, a tar archive, or one on stdin, and prints its root hash. */
export async function pack(from: PathText, file: PathText, flags: PackFlags): Promise<number> {
  const options = packOptions(flags)
  const isSilent = flags.quiet === true || flags.json === true
  const progress = await startProgress('packing', isSilent)
  const interrupted = new AbortController()
  let signal: NodeJS.Signals | undefined
  const stop = (name: NodeJS.Signals): void => {
    signal = name
    interrupted.abort(new Error(`interrupted: ${file} was not made`))
  }
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop)
  const source = sourceOf(from)
  try {
    const total = progress.isShown && 'directory' in source ? sizeOfTree(source.directory) : 0
    const image = await packTree(source, absolutePath(file), {
      ...options,
      signal: interrupted.signal,
      ...(total > 0 && { onProgress: (done) => progress.update(done, total) }),
    })
    progress.stop()
    report(image, flags)
    return 0
  } catch (error) {
    progress.stop()
    if (signal === undefined) throw error
    process.stderr.write(`Error: interrupted: ${file} was not made\n`)
    return 128 + constants.signals[signal]
  }
}

function sourceOf(from: PathText): PackSource {
  if (from === '-') return { tar: process.stdin, label: 'standard input' }
  const path = absolutePath(from)
  if (withFsError(from, () => statSync(systemPath(path))).isDirectory()) return { directory: path }
  return { tar: createReadStream(systemPath(path), { highWaterMark: READ_AHEAD }), label: from }
}

function report(image: PackedImage, flags: PackFlags): void {
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(image, undefined, 2)}\n`)
    return
  }
  if (flags.quiet === true) return
  const { attributes, devices, clampedTimes, rootHash } = image
  const warnings: string[] = []
  if (attributes > 0) {
    warnings.push(
      `Warning: ${attributes} attributes, such as ACLs, are left out: squashfs has no place for them`,
    )
  }
  if (devices > 0) {
    warnings.push(`Warning: ${devices} character devices 0:0 are left out: to an overlay they are whiteouts`)
  }
  if (clampedTimes > 0) {
    warnings.push(
      `Warning: ${clampedTimes} modification times before 1970 or after 2106 became the nearest possible`,
    )
  }
  if (warnings.length > 0) process.stderr.write(formatLines(warnings))
  if (rootHash !== undefined) process.stdout.write(formatLines([`root hash: ${rootHash}`]))
}

function packOptions(flags: PackFlags): PackOptions {
  const { compression = 'zstd', blockSize = '128K', salt, threads, verity = true } = flags
  const epoch = process.env['SOURCE_DATE_EPOCH']
  if (salt !== undefined && !/^([0-9a-f]{2}){1,256}$/i.test(salt)) {
    throw new UsageError(`salt ${JSON.stringify(salt)}: 1 to 256 bytes in hexadecimal digits are needed`)
  }
  if (epoch !== undefined && !/^\d{1,10}$/.test(epoch)) {
    throw new UsageError(`SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}: seconds since 1970 are needed`)
  }
  if (threads !== undefined && !/^[1-9]\d{0,2}$/.test(threads)) {
    throw new UsageError(`threads ${JSON.stringify(threads)}: 1 to 999 are possible`)
  }
  return {
    ...compressionOf(compression),
    blockSize: bytesOf(blockSize),
    ...(flags.whiteouts !== undefined && { whiteouts: whiteoutsOf(flags.whiteouts) }),
    noFragments: flags.fragments === false,
    tailEnds: flags.tailEnds === true,
    noDuplicateCheck: flags.duplicates === false,
    noExportTable: flags.export === false,
    noPadding: flags.padding === false,
    ...(flags.uncompressed !== undefined && { uncompressed: partsOf(flags.uncompressed) }),
    allRoot: flags.allRoot === true,
    force: flags.force === true,
    ...(verity && { verity: salt === undefined ? {} : { salt: Buffer.from(salt, 'hex') } }),
    ...(threads !== undefined && { threads: Number(threads) }),
    ...(epoch !== undefined && { latestTime: Number(epoch) }),
  }
}

function whiteoutsOf(text: string): Whiteouts {
  if (text === 'overlay' || text === 'none') return text
  throw new UsageError(`whiteouts ${JSON.stringify(text)}: overlay or none is needed`)
}

function partsOf(text: string): NonNullable<PackOptions['uncompressed']> {
  const parts = text.split(',')
  const unknown = parts.find((part) => !(UNCOMPRESSED_PARTS as readonly string[]).includes(part))
  if (unknown !== undefined) {
    throw new UsageError(
      `uncompressed: ${JSON.stringify(unknown)} is none of ${UNCOMPRESSED_PARTS.join(', ')}`,
    )
  }
  return Object.fromEntries(parts.map((part) => [part, true]))
}

const UNCOMPRESSED_PARTS = ['inodes', 'data', 'fragments', 'xattrs', 'ids'] as const
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1 << 10, M: 1 << 20 }

function bytesOf(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,9})([KM]?)$/i.exec(text) ?? []
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? 0)
  if (bytes > 0) return bytes
  throw new UsageError(
    `block size ${JSON.stringify(text)}: a power of two from 4K to ${formatBytes(1 << 20)} is needed`,
  )
}
