import { printable } from '../../base/index.ts'
import type { MountStatus } from '../../daemon/client/control-client.ts'
import type { MetricFamily, Sample } from '../print/prometheus.ts'

type Labels = Sample['labels']

/** The part of a family that is the same for each mount. */
interface Metric extends Omit<MetricFamily, 'samples'> {
  readonly samplesOf: (mount: MountStatus) => readonly Sample[]
}

/** One number a mount. */
function perMount(
  name: string,
  type: Metric['type'],
  help: string,
  read: (mount: MountStatus) => number,
): Metric {
  return { name, type, help, samplesOf: (mount) => [{ labels: targetOf(mount), value: read(mount) }] }
}

/** One number a layer. */
function perLayer(
  name: string,
  type: Metric['type'],
  help: string,
  read: (layer: MountStatus['layers'][number]) => number,
): Metric {
  const samplesOf = (mount: MountStatus): readonly Sample[] =>
    mount.layers.map((layer, index) => ({
      // Two directories of one path may be layers: the index tells them apart.
      labels: { ...targetOf(mount), index: String(index), layer: printable(layer.label) },
      value: read(layer),
    }))
  return { name, type, help, samplesOf }
}

/** Values of labels are UTF-8, which paths need not be. */
function targetOf({ target }: MountStatus): Labels {
  return { target: printable(target) }
}

/** The order is that of the output. `docs/status.md` has the same list. */
const METRICS: readonly Metric[] = [
  {
    name: 'atomfs_fuse_mount_info',
    type: 'gauge',
    help: 'A mount, always 1.',
    samplesOf: (mount) => [
      {
        labels: {
          ...targetOf(mount),
          source: printable(mount.source),
          driver: mount.driver,
          writable: String(mount.writable),
        },
        value: 1,
      },
    ],
  },
  perMount(
    'atomfs_fuse_uptime_seconds',
    'gauge',
    'Age of the process that serves the mount.',
    ({ uptimeSeconds }) => uptimeSeconds,
  ),
  perMount(
    'atomfs_fuse_resident_memory_bytes',
    'gauge',
    'Resident memory of the process that serves the mount.',
    ({ rss }) => rss,
  ),
  perMount(
    'atomfs_fuse_cache_limit_bytes',
    'gauge',
    'Most bytes that the cache of decoded blocks may take.',
    ({ cacheSize }) => cacheSize,
  ),
  {
    name: 'atomfs_fuse_requests_total',
    type: 'counter',
    help: 'Requests of the kernel, by their operation.',
    samplesOf: (mount) =>
      Object.entries(mount.operations).map(([op, value]) => ({ labels: { ...targetOf(mount), op }, value })),
  },
  {
    name: 'atomfs_fuse_image_reads_total',
    type: 'counter',
    help: 'Read requests for data of images, by whether the cache had all of their blocks.',
    samplesOf: (mount) =>
      [
        { cache: 'hit', value: mount.counters.cacheHits },
        { cache: 'miss', value: mount.counters.cacheMisses },
      ].map(({ cache, value }) => ({ labels: { ...targetOf(mount), cache }, value })),
  },
  perMount(
    'atomfs_fuse_failed_reads_total',
    'counter',
    'Read requests that were answered with an error.',
    ({ counters }) => counters.failedReads,
  ),
  perMount(
    'atomfs_fuse_open_files',
    'gauge',
    'Open files and directories; 0 unless the mount counts them, for the option timeout.',
    ({ counters }) => counters.openFiles,
  ),
  perMount(
    'atomfs_fuse_pending_reads',
    'gauge',
    'Read requests that wait for data.',
    ({ pending }) => pending.reads,
  ),
  perMount(
    'atomfs_fuse_oldest_pending_read_seconds',
    'gauge',
    'How long the oldest read request has waited for data.',
    ({ pending }) => pending.oldestMs / 1000,
  ),
  perLayer(
    'atomfs_fuse_layer_verified',
    'gauge',
    'Whether the layer has a root hash and every block that was read matched it.',
    ({ state }) => (state === 'verified' ? 1 : 0),
  ),
  perLayer(
    'atomfs_fuse_layer_checked_blocks_total',
    'counter',
    'Blocks of the layer that were compared with its root hash.',
    ({ blocksChecked }) => blocksChecked,
  ),
  perLayer(
    'atomfs_fuse_layer_verification_failures_total',
    'counter',
    'Comparisons of blocks with the root hash that failed.',
    ({ failures }) => failures,
  ),
]

/** What a monitoring system wants to know of mounts. */
export function mountMetrics(mounts: readonly MountStatus[]): readonly MetricFamily[] {
  const families = METRICS.map(({ samplesOf, ...family }) => ({
    ...family,
    samples: mounts.flatMap(samplesOf),
  }))
  const count: MetricFamily = {
    name: 'atomfs_fuse_mounts',
    type: 'gauge',
    help: 'Mounts that answered.',
    samples: [{ labels: {}, value: mounts.length }],
  }
  return [count, ...families]
}
