import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, omitUndefined } from '../../base/index.ts'
import type { EndReason, RunningServer } from '../../drivers/index.ts'
import { type MoleculeSpec, takesChanges } from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { residentBytes } from '../../sys/ffi/memory.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import { readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { withTimeout } from '../../sys/plain/promises.ts'
import { ownIdentity } from '../../sys/process/process.ts'
import { createEntry, markMounted, type OwnEntry, type RuntimeEntry } from '../runtime/entries.ts'
import type { MountStatus } from '../serve/control-protocol.ts'
import { openControl } from '../serve/control-server.ts'
import { upperStatus } from '../serve/upper-status.ts'
import type { DaemonHost } from './daemon-host.ts'
import { holdChanges } from './hold-changes.ts'
import { configOf } from './mount-record.ts'
import { OwnProcess } from './own-process.ts'
import { announce } from './readiness.ts'
import type { ServingProcess } from './serving-process.ts'
import { type Progress, tearDown } from './tear-down.ts'
import { waitForEnd } from './wait-for-end.ts'

/** INIT comes at once; with `--verify=eager` whole layers are read before, and that takes what it takes. */
const READY_TIMEOUT_MS = 60_000

/** Longest wait for a step that was interrupted. */
const SETTLE_TIMEOUT_MS = 2000

/**
 * Serves one mount from its request to its end: checks, runtime entry, mount, server, wait, clean up.
 * @param server by default a process with this one mount
 * @returns why it ended
 * @throws FsError what kept it from serving; then nothing of it is left
 */
export async function serveMount(
  request: MountRequest,
  host: DaemonHost,
  server: ServingProcess = new OwnProcess(request, host.log),
): Promise<EndReason> {
  const progress: Progress = {
    entry: undefined,
    mount: undefined,
    server: undefined,
    control: undefined,
    upper: undefined,
  }
  const options = request.options
  const up = bringUp(request, host, server, progress)
  try {
    const warnings = await Promise.race([
      up,
      host.fault,
      host.stopRequested.then((why) => {
        throw new FsError('EINTR', `${why} before the mount was ready`)
      }),
    ])
    // A caller that waited may call pivot_root(2) at once, and after that this program's files cannot be found by path. The
    // mount already serves, so a request to end it meanwhile is no failed mount.
    await Promise.race([progress.server?.loaded, host.fault, host.stopRequested])
    // Before the answer, so that the caller meets a process that has given up its rights.
    server.giveUpRights(progress.mount, progress.upper !== undefined)
    host.ready(warnings)
  } catch (error) {
    // Interrupted in the middle, it may still be about to mount: what it makes must be undone too.
    await Promise.race([up.catch(() => undefined), sleep(SETTLE_TIMEOUT_MS, undefined, { ref: false })])
    await tearDown(progress, 'not made', server, host.log)
    if (progress.entry !== undefined) server.sweep(progress.entry)
    if (!host.hasSuccessor) await announce(options, false, host.log)
    throw error
  }
  // A reader of the FIFO may take its time; the mount must be able to end meanwhile.
  void announce(options, true, host.log)
  const end = await waitForEnd(progress, host, server, options.idleTimeout)
  if (progress.entry !== undefined) server.sweep(progress.entry)
  return end
}

async function bringUp(
  request: MountRequest,
  host: DaemonHost,
  server: ServingProcess,
  progress: Progress,
): Promise<readonly string[]> {
  const begun = performance.now()
  const opened = await server.open()
  const { target, images } = opened
  const record = {
    process: ownIdentity(),
    state: 'starting' as const,
    ...(server.isShared ? { shared: true as const } : {}),
  }
  const entry = createEntry(configOf(request, target), record, isStillMounted)
  progress.entry = entry
  host.entryCreated(entry)
  progress.upper = await server.openUpper(entry, opened)
  const spec = progress.upper === undefined ? images : { ...images, upper: progress.upper.spec }
  const { mount, threads } = await mountAndServe(request, host, server, progress, { entry, spec, target })
  const endedEarly = threads.ended.then((end) => {
    throw new FsError('EIO', end.reason === 'failed' ? end.message : 'unmounted before it was ready')
  })
  const ready = Promise.race([threads.ready, endedEarly])
  await (request.verify === 'eager'
    ? ready
    : withTimeout(ready, READY_TIMEOUT_MS, 'the kernel did not start the file system'))
  const status = (): MountStatus => ({
    target,
    source: request.name,
    pid: process.pid,
    uptimeSeconds: Math.round((performance.now() - begun) / 1000),
    driver: request.options.driver,
    ...upperStatus(request, spec.upper),
    rss: residentBytes(),
    ...threads.stats(),
  })
  progress.control = await openControl(entry, { status, hold: () => holdChanges(request, spec, threads) })
  host.onReportRequest(() => host.report(`statistics: ${JSON.stringify(status())}`))
  for (const warning of mount.warnings) host.log('warn', warning)
  for (const remark of spec.remarks ?? []) host.log('warn', remark)
  for (const { label, facts } of spec.images) {
    if (facts.remark !== undefined) host.log('warn', `${label}: ${facts.remark}`)
  }
  return mount.warnings
}

/** Whether the mount that an entry records is at the place that the entry names, which may be another than ours. */
function isStillMounted({ config, daemon }: RuntimeEntry): boolean {
  return daemon?.device !== undefined && topMountAt(readMountInfo(), config.Target)?.device === daemon.device
}

/** The mount and its threads by the driver that was asked for; each stands in `progress` as soon as it exists. */
async function mountAndServe(
  request: MountRequest,
  host: DaemonHost,
  server: ServingProcess,
  progress: Progress,
  what: { readonly entry: OwnEntry; readonly spec: MoleculeSpec; readonly target: string },
): Promise<{ readonly mount: FuseMount; readonly threads: RunningServer }> {
  const { fsname, nosuid, nodev, noexec, flags, allowOther, defaultPermissions, maxRead, context } =
    request.options
  const { driver: name, cacheSize, workers, kernel } = request.options
  const options: FuseMountOptions = {
    target: what.target,
    fsname: fsname ?? request.name,
    readOnly: !takesChanges(what.spec.upper),
    nosuid,
    nodev,
    noexec,
    flags,
    allowOther,
    defaultPermissions,
    ...omitUndefined({ maxRead, context }),
  }
  const { log } = host
  const { driverPath } = request
  const served = { spec: what.spec, cacheSize, workers, kernel, log, driverPath }
  const { mount, serve } = await server.mount(options, name, served)
  host.mounted()
  progress.mount = mount
  progress.entry = markMounted(what.entry, mount.device)
  const threads = serve()
  progress.server = threads
  return { mount, threads }
}
