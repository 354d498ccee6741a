import type { InspectReport, LayerReport, VerityReport } from '../../molecule/index.ts'
import { parseOffset } from '../../request/index.ts'
import { formatBytes, formatLines, shortLabel } from '../print/format.ts'
import { formatTable } from '../print/table.ts'

export interface InspectFlags {
  readonly json?: boolean
  readonly offset?: string
}

/** Runs `inspect`: prints the layers of SOURCE, bottom first. */
export async function inspect(source: string, flags: InspectFlags): Promise<number> {
  const { inspectSource } = await import('../../molecule/index.ts')
  const offset = flags.offset === undefined ? undefined : parseOffset(flags.offset)
  const report: InspectReport = inspectSource(source, offset)
  process.stdout.write(
    flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report),
  )
  return 0
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

export function formatReport(report: InspectReport): string {
  const title = [`source: ${report.source}`]
  if (report.manifestDigest !== undefined) title.push(`manifest: ${report.manifestDigest}`)
  if (report.directory !== undefined) {
    title.push('kind: directory', `entries: ${report.directory.entries}`)
    return formatLines(title)
  }
  for (const { offset } of report.layers) if (offset !== undefined) title.push(`image at byte: ${offset}`)
  return `${formatLines(title)}\n${formatTable(HEAD, report.layers.map(layerRow))}`
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

/** @param seconds since 1970 */
function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
}

function formatVerity(verity: VerityReport): string {
  if (verity === 'no') return 'no'
  return verity.rootHash === undefined ? `${verity.algorithm}, no root hash` : verity.algorithm
}
