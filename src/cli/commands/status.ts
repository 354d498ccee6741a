import { UsageError } from '../../base/index.ts'
import { askAll, askStatus, type MountStatus } from '../../daemon/client/control-client.ts'
import type { LayerStatus } from '../../drivers/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { describeCompressor } from '../print/chunks.ts'
import { describeTar, formatBytes, formatLines, shortLabel } from '../print/format.ts'
import { print } from '../print/output.ts'
import { formatFamilies } from '../print/prometheus.ts'
import { formatTable } from '../print/table.ts'
import { writeWholeFile } from '../print/whole-file.ts'
import { mountMetrics } from './mount-metrics.ts'
import { parseWatch, watch } from './watch.ts'

export interface StatusFlags {
  readonly json?: boolean
  readonly metadir?: string
  /** Seconds, or TARGET; true where neither stands behind the option. */
  readonly watch?: string | true
  /** A file, or `-`. */
  readonly metrics?: string
}

/** Runs `status`: one mount, or all that this user may ask. */
export async function status(target: string | undefined, flags: StatusFlags): Promise<number> {
  const metadataDir = flags.metadir === undefined ? undefined : absolutePath(flags.metadir)
  const { json = false, metrics } = flags
  if (metrics !== undefined) {
    if (json || flags.watch !== undefined) throw new UsageError('--metrics goes without --json and --watch')
    const text = formatFamilies(mountMetrics(await ask(target, metadataDir)))
    if (metrics === '-') await print(text)
    else await writeWholeFile(metrics, text)
  } else if (flags.watch !== undefined) {
    const watched = parseWatch(flags.watch, target)
    const look = async (): Promise<string> => {
      const mounts = await ask(watched.target, metadataDir)
      if (json) return formatJson(watched.target, mounts)
      return mounts.length === 0 ? 'no mounts\n' : formatStatus(watched.target, mounts)
    }
    await watch(watched.seconds, !json, look)
  } else {
    const mounts = await ask(target, metadataDir)
    await print(json ? formatJson(target, mounts, 2) : formatStatus(target, mounts))
  }
  return 0
}

async function ask(
  target: string | undefined,
  metadataDir: string | undefined,
): Promise<readonly MountStatus[]> {
  if (target === undefined) return await askAll(metadataDir)
  return [await askStatus(absolutePath(target), metadataDir)]
}

function formatJson(target: string | undefined, mounts: readonly MountStatus[], indent?: number): string {
  return `${JSON.stringify(target === undefined ? mounts : mounts[0], undefined, indent)}\n`
}

function formatStatus(target: string | undefined, mounts: readonly MountStatus[]): string {
  if (target === undefined && mounts.length > 0) return formatMounts(mounts)
  return mounts.map(formatMount).join('\n')
}

/** One line a mount. */
export function formatMounts(mounts: readonly MountStatus[]): string {
  const rows = mounts.map((mount) => [
    mount.target,
    overall(mount.layers),
    String(mount.layers.length),
    String(mount.counters.requests),
    formatBytes(mount.rss),
    String(mount.pid),
    mount.source,
  ])
  return formatTable(['TARGET', 'STATE', 'LAYERS', 'REQUESTS', 'MEMORY', 'PID', 'SOURCE'], rows)
}

/** What `status` prints of one mount without `--json`. */
export function formatMount(mount: MountStatus): string {
  const { counters, pending } = mount
  const reads = counters.cacheHits + counters.cacheMisses
  const hitRate = reads === 0 ? '' : ` (${((100 * counters.cacheHits) / reads).toFixed(1)} % from the cache)`
  const lines = [
    `target:    ${mount.target}`,
    `source:    ${mount.source}`,
    ...(mount.upper === undefined ? [] : [`changes:   ${describeUpper(mount)}`]),
    ...(mount.driver === 'builtin' ? [] : [`driver:    ${mount.driver}`]),
    `process:   ${mount.pid}, up ${mount.uptimeSeconds} s, ${formatBytes(mount.rss)} of memory`,
    `requests:  ${counters.requests}, reads ${reads}${hitRate}, failed ${counters.failedReads}`,
    ...(pending.reads === 0
      ? []
      : [
          `waiting:   ${pending.reads} reads for data, the oldest for ${(pending.oldestMs / 1000).toFixed(1)} s`,
        ]),
    `cache:     up to ${formatBytes(mount.cacheSize)}`,
    ...mount.layers.flatMap(({ label, chunks, compressor }) =>
      chunks === undefined
        ? []
        : [`data:      ${chunks} chunks of ${shortLabel(label)}, ${describeCompressor(compressor)}`],
    ),
    ...mount.layers.flatMap(({ label, tar }) =>
      tar === undefined ? [] : [`tar layer: ${shortLabel(label)}, ${describeTar(tar)}`],
    ),
  ]
  const rows = mount.layers.map((layer) => [
    shortLabel(layer.label),
    layer.state,
    String(layer.blocksChecked),
    String(layer.failures),
  ])
  return `${formatLines(lines)}\n${formatTable(['LAYER', 'STATE', 'BLOCKS CHECKED', 'FAILURES'], rows)}`
}

function describeUpper({ upper, writable }: MountStatus): string {
  if (upper === undefined) return 'none'
  if (!writable) return `those in ${upper.path}, read-only`
  const { owners, ownerRecord, markers, whiteouts, fsync } = upper.policy
  const where = upper.temporary ? `${upper.path}, until the end of the mount` : upper.path
  return [
    `in ${where}`,
    owners === 'real' ? 'real owners' : `owners in ${ownerRecord}`,
    `attributes in ${markers}`,
    whiteouts === 'device' ? 'deletions as devices 0:0' : 'deletions as .wh. files',
    `fsync ${fsync}`,
  ].join('; ')
}

/** The worst state of the layers: a chain is as good as its weakest link. */
function overall(layers: readonly LayerStatus[]): string {
  const states = layers.map((layer) => layer.state)
  return (['failed', 'unverified'] as const).find((state) => states.includes(state)) ?? 'verified'
}
