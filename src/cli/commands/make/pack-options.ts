import { readFileSync } from 'node:fs'
import {
  encodePath,
  namesOfPath,
  type PathText,
  PERMISSIONS,
  systemPath,
  UsageError,
  withFsError,
} from '../../../base/index.ts'
import {
  compressionOf,
  excludeGlobs,
  type PackOptions,
  Priorities,
  type Whiteouts,
} from '../../../make/index.ts'
import { MAX_ID, parseIdRanges } from '../../../request/index.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { formatBytes } from '../../print/format.ts'

export interface PackFlags {
  readonly compression?: string
  readonly blockSize?: string
  readonly fragments?: boolean
  readonly tailEnds?: boolean
  readonly duplicates?: boolean
  readonly export?: boolean
  readonly padding?: boolean
  readonly uncompressed?: string
  readonly exclude?: readonly PathText[]
  readonly subdir?: PathText
  readonly sort?: PathText
  readonly whiteouts?: string
  readonly allRoot?: boolean
  readonly uidMap?: string
  readonly gidMap?: string
  readonly rootMode?: string
  readonly rootOwner?: string
  readonly verity?: boolean
  readonly salt?: string
  readonly threads?: string
  readonly force?: boolean
  readonly strict?: boolean
  readonly quiet?: boolean
  readonly json?: boolean
}

/** What the options of `pack` ask for. @throws UsageError; FsError of the list for `--sort` */
export function packOptions(flags: PackFlags): PackOptions {
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
    ...(flags.exclude !== undefined && { exclude: excludeGlobs(flags.exclude) }),
    ...(flags.subdir !== undefined && { subdir: subdirOf(flags.subdir) }),
    ...(flags.sort !== undefined && { priorities: prioritiesOf(flags.sort) }),
    ...ownersOf(flags),
    force: flags.force === true,
    ...(verity && { verity: salt === undefined ? {} : { salt: Buffer.from(salt, 'hex') } }),
    ...(threads !== undefined && { threads: Number(threads) }),
    ...(epoch !== undefined && { latestTime: Number(epoch) }),
  }
}

function subdirOf(text: PathText): string {
  return namesOfPath(encodePath(text).toString('latin1'), '--subdir').join('/')
}

function prioritiesOf(file: PathText): Priorities {
  return new Priorities(
    withFsError(file, () => readFileSync(systemPath(absolutePath(file)), 'utf8')),
    file,
  )
}

function ownersOf({ allRoot = false, uidMap, gidMap, rootMode, rootOwner }: PackFlags): Partial<PackOptions> {
  if (allRoot && (uidMap ?? gidMap) !== undefined) {
    throw new UsageError('--all-root goes without --uid-map and --gid-map')
  }
  return {
    allRoot,
    ...(uidMap !== undefined && { uidMap: parseIdRanges('--uid-map', uidMap) }),
    ...(gidMap !== undefined && { gidMap: parseIdRanges('--gid-map', gidMap) }),
    root: {
      ...(rootMode !== undefined && { mode: modeOf(rootMode) }),
      ...(rootOwner !== undefined && ownerOf(rootOwner)),
    },
  }
}

function modeOf(text: string): number {
  const mode = /^[0-7]{1,5}$/.test(text) ? Number.parseInt(text, 8) : Infinity
  if (mode <= PERMISSIONS) return mode
  throw new UsageError(`root mode ${JSON.stringify(text)}: up to 7777 in octal digits is needed`)
}

function ownerOf(text: string): { readonly uid: number; readonly gid: number } {
  const [, uid = '', gid = ''] = /^(\d{1,10}):(\d{1,10})$/.exec(text) ?? []
  if (uid !== '' && Number(uid) <= MAX_ID && Number(gid) <= MAX_ID)
    return { uid: Number(uid), gid: Number(gid) }
  throw new UsageError(`root owner ${JSON.stringify(text)}: UID:GID in numbers is needed`)
}

function whiteoutsOf(text: string): Whiteouts {
  if (text === 'overlay' || text === 'aufs' || text === 'none') return text
  throw new UsageError(`whiteouts ${JSON.stringify(text)}: overlay, aufs or none is needed`)
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
