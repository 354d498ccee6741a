import { FsError, UsageError } from '../../base/index.ts'
import type {
  InspectReport,
  LayerReport,
  MeasuredUsage,
  UsageRequest,
  VerityReport,
} from '../../molecule/index.ts'
import { parseInteger, parseOffset } from '../../request/index.ts'
import { describeChunks } from '../print/chunks.ts'
import { encryptionLines } from '../print/encryption.ts'
import { describeTar, formatBytes, formatLines, shortLabel } from '../print/format.ts'
import { formatListing, formatTime } from '../print/listing.ts'
import { print } from '../print/output.ts'
import { startProgress } from '../print/progress.ts'
import { formatTable } from '../print/table.ts'
import { formatUsage } from '../print/usage.ts'
import { writeWholeFile } from '../print/whole-file.ts'

export interface InspectFlags {
  readonly json?: boolean
  readonly offset?: string
  readonly usage?: boolean
  readonly top?: string
  /** A file, or `-`. */
  readonly html?: string
}

const DEFAULT_TOP = 10
const MOST_TOP = 1000
/** Images of so many inodes are counted without being asked: it takes less than the start of the program. */
const SMALL_IMAGE = 5000
/** Bound of what a page shows by itself, see `SizeTree`: some 13 000 files, or 2 MB of page. */
const PAGE_COST = 40_000

/** Runs `inspect`: prints the layers of SOURCE, bottom first, or writes a page about them. */
export async function inspect(source: string, flags: InspectFlags): Promise<number> {
  const { inspectSource } = await import('../../molecule/index.ts')
  const { json = false, html } = flags
  if (json && html !== undefined) throw new UsageError('--html goes without --json')
  const offset = flags.offset === undefined ? undefined : parseOffset(flags.offset)
  const top = flags.top === undefined ? DEFAULT_TOP : parseInteger('--top', flags.top, 0, MOST_TOP)
  const report = inspectSource(source, offset)
  const count = (tree?: UsageRequest['tree']) => measure(report, { source, offset, top, tree }, flags)
  if (html !== undefined) {
    const { formatPage, PAGE_LAYERS, pageData } = await import('../page/index.ts')
    const { usage, tree } = await count({ cost: PAGE_COST, layers: PAGE_LAYERS })
    if (tree === undefined) throw new Error('a page without a tree')
    const page = formatPage(pageData(report, { usage, tree }))
    if (html === '-') await print(page)
    else await writeWholeFile(html, page)
    return 0
  }
  const isAsked = flags.usage === true || flags.top !== undefined
  if (json) {
    const usage = isAsked ? (await count()).usage : undefined
    await print(`${JSON.stringify({ ...report, usage }, undefined, 2)}\n`)
    return 0
  }
  const counted = async (): Promise<string> => `\n${formatUsage((await count()).usage)}`
  const usage = isAsked ? await counted() : isSmall(report) ? await counted().catch(explainUncounted) : ''
  await print(`${formatReport(report)}${usage}`)
  return 0
}

/** What was not asked for is no reason to fail: the layers of a damaged image are still described. */
function explainUncounted(error: unknown): string {
  if (!(error instanceof FsError)) throw error
  return `\n${formatLines([`not counted: ${error.message}`])}`
}

function inodesOf({ layers }: InspectReport): number {
  return layers.reduce((sum, { inodes }) => sum + inodes, 0)
}

/** Of a directory it is not known, so it is counted on request only. */
function isSmall(report: InspectReport): boolean {
  return report.directory === undefined && report.layers.length > 0 && inodesOf(report) <= SMALL_IMAGE
}

async function measure(
  report: InspectReport,
  request: UsageRequest,
  { json = false }: InspectFlags,
): Promise<MeasuredUsage> {
  const { measureUsage } = await import('../../molecule/index.ts')
  const progress = await startProgress('counting', json, 'names')
  const inodes = inodesOf(report)
  try {
    return await measureUsage(request, (names) => progress.update(names, Math.max(names + 1, inodes)))
  } finally {
    progress.stop()
  }
}

const HEAD = [
  'LAYER',
  'SIZE',
  'COMPRESSOR',
  'BLOCK',
  'INODES',
  'FRAGMENTS',
  'CREATED',
  'XATTRS',
  'VERITY',
  'MEDIA TYPE',
]

/** What `inspect` prints without `--json`: facts line by line, then tables. Ends in a line feed. */
export function formatReport(report: InspectReport): string {
  const title = [`source: ${report.source}`]
  if (report.manifestDigest !== undefined) title.push(`manifest: ${report.manifestDigest}`)
  if (report.directory !== undefined) {
    title.push('kind: directory', `entries: ${report.directory.entries}`)
    return formatLines(title)
  }
  if (report.notMounted !== undefined) title.push(`cannot be mounted: ${report.notMounted}`)
  title.push(...(report.remarks ?? []), ...(report.encryption ?? []).flatMap(encryptionLines))
  const listing = report.listing === undefined ? '' : `\n${formatListing(report.listing)}`
  if (report.notMounted !== undefined) return `${formatLines(title)}${listing}`
  for (const { offset } of report.listing === undefined ? report.layers : [])
    if (offset !== undefined) title.push(`image at byte: ${offset}`)
  for (const { label, stored } of report.layers) {
    if (stored !== undefined) title.push(`${shortLabel(label)}: ${describeChunks(stored)}`)
  }
  for (const { label, tar } of report.layers) {
    if (tar !== undefined) title.push(`${shortLabel(label)}: ${describeTar(tar)}`)
  }
  for (const { label, remark } of report.layers) {
    if (remark !== undefined) title.push(`${shortLabel(label)}: ${remark}`)
  }
  return `${formatLines(title)}${listing}\n${formatTable(HEAD, report.layers.map(layerRow))}`
}

function layerRow(layer: LayerReport): readonly string[] {
  return [
    shortLabel(layer.label),
    formatBytes(layer.size),
    layer.compressor,
    formatBytes(layer.blockSize),
    String(layer.inodes),
    layer.fragments === undefined ? '-' : String(layer.fragments),
    layer.mkfsTime === undefined ? '-' : formatTime(layer.mkfsTime),
    layer.hasXattrs ? 'yes' : 'no',
    formatVerity(layer.verity),
    layer.mediaType ?? '-',
  ]
}

function formatVerity(verity: VerityReport): string {
  if (verity === 'no') return 'no'
  return verity.rootHash === undefined ? `${verity.algorithm}, no root hash` : verity.algorithm
}
