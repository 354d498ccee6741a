import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, type Log, messageOf, omitUndefined, type PathText, stackOf } from '../../base/index.ts'
import { wipeKeys } from '../../crypt/keys/keyring.ts'
import {
  type DriverMount,
  type DriverName,
  driverNamed,
  type EndReason,
  type RunningServer,
  type ServeOptions,
} from '../../drivers/index.ts'
import {
  adoptIndexes,
  hostDirectories,
  isOverlay,
  type MoleculeSpec,
  type OpenUpper,
  resolveMolecule,
  takesChanges,
} from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { residentBytes } from '../../sys/ffi/memory.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import { placesOf, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { descriptorOf, holdDescriptors } from '../../sys/plain/proc.ts'
import { deferred, withTimeout } from '../../sys/plain/promises.ts'
import { ownIdentity } from '../../sys/process/process.ts'
import { whenFree } from '../ext3/free-image.ts'
import { type Ext3Mount, mountExt3 } from '../ext3/fuse2fs.ts'
import {
  changesFolder,
  closeChanges,
  openChanges,
  sweepAllChanges,
  sweepChanges,
} from '../runtime/changes.ts'
import {
  createEntry,
  type MoleculeConfig,
  markMounted,
  type OwnEntry,
  type RuntimeEntry,
  removeOwnEntry,
  setChangesAside,
} from '../runtime/entries.ts'
import { canonicalTarget, prepareTarget, refuseInside } from '../runtime/target.ts'
import type { MountStatus } from '../serve/control-protocol.ts'
import { type ControlServer, type Hold, openControl } from '../serve/control-server.ts'
import { upperStatus } from '../serve/upper-status.ts'
import { assertDescriptors } from './descriptors.ts'
import { isStillUsed, watchIdle } from './idle.ts'
import { notifyManager } from './notify.ts'
import { dropPrivileges } from './privileges.ts'
import { announce } from './readiness.ts'

/** What surrounds the daemon: a parent behind a pipe, or a terminal. */
export interface DaemonHost {
  readonly log: Log
  /** Prints at every log level: the user asked for it. */
  readonly report: (message: string) => void
  /** Calls the listener whenever a user asks for a report (SIGUSR1). */
  onReportRequest(listener: () => void): void
  /** Resolves when no other process is left in the mount namespace. */
  namespaceEnd(): Promise<void>
  /** The caller waits for the end of this process, and kills it when that takes long. */
  readonly isAwaited: boolean
  /** Where this process fails, another one tries the same, and tells of it. */
  readonly hasSuccessor: boolean
  /** The runtime entry exists: logs may go there. */
  entryCreated(entry: OwnEntry): void
  /** The mount exists, and does not serve yet. */
  mounted(): void
  /** The mount serves. Throws if the caller has stopped waiting: then the mount is undone. */
  ready(warnings: readonly string[]): void
  /** Resolves when the daemon is asked to end. */
  readonly stopRequested: Promise<string>
  /** Resolves when it is asked again, and impatiently. */
  readonly stopAgain: Promise<string>
  /** Rejects with a fault that no code caught. */
  readonly fault: Promise<never>
  /** Of a server of several mounts, whose client looks at the target and mounts. */
  readonly shared?: SharedPlace
}

/** A mount that was not made; the dispatcher has ended, and all is on the disk; or it died, or may still be at work. */
export type UpperEnd = 'not made' | 'complete' | 'cut off'

/** What a server of several mounts does in another way than a process with one. */
export interface SharedPlace {
  /** Opens the images of the mount. @throws FsError */
  open(request: MountRequest): MoleculeSpec
  /** Has the client mount. @throws FsError */
  mount(options: FuseMountOptions, imagePaths: readonly PathText[]): Promise<FuseMount>
  /** Gives the mount to the threads of the server, which close its descriptor. */
  serve(fuseFd: number, served: Pick<ServeOptions, 'spec' | 'kernel' | 'log'>): RunningServer
  /** Opens the upper directory. @throws FsError as `openChanges` */
  openUpper(entry: OwnEntry, images: MoleculeSpec): Promise<OpenUpper | undefined>
  /** The mount ends; its threads may not have ended yet. */
  closeUpper(upper: OpenUpper, how: UpperEnd): void
}

/** INIT comes at once; with `--verify=eager` whole layers are read before, and that takes what it takes. */
const READY_TIMEOUT_MS = 60_000

/** Longest wait for a step that was interrupted. */
const SETTLE_TIMEOUT_MS = 2000

/** Threads that do not end, or have not even started, do not hold up the end of the process. */
const STOP_TIMEOUT_MS = 100

/** How long those who have files open are served after the mount is detached. A service manager kills after 90 s. */
const LAST_USERS_TIMEOUT_MS = 60_000

/**
 * The same where the caller waits, and has detached the mount itself before it asked. Apptainer gives the last users a
 * second before it asks, and kills one second later (apptainer: imagedriver.go, `stop`).
 */
const DETACHED_TIMEOUT_MS = 250

/** A covered mount cannot be detached, so the daemon cannot learn when its last user has gone. */
const COVERED_TIMEOUT_MS = 2000

/** What exists of a mount at some moment, and so has to be undone. */
interface Progress {
  entry: OwnEntry | undefined
  mount: FuseMount | undefined
  server: RunningServer | undefined
  control: ControlServer | undefined
  upper: OpenUpper | undefined
  /** The file system of the upper, where another program serves it. */
  ext3: Ext3Mount | undefined
}

/**
 * Serves one mount from its request to its end: checks, runtime entry, mount, server, wait, clean up.
 * @returns why it ended
 * @throws FsError what kept it from serving; then nothing of it is left
 */
export async function serveMount(request: MountRequest, host: DaemonHost): Promise<EndReason> {
  const progress: Progress = {
    entry: undefined,
    mount: undefined,
    server: undefined,
    control: undefined,
    upper: undefined,
    ext3: undefined,
  }
  const options = request.options
  const up = bringUp(request, host, progress)
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
    if (host.shared === undefined) dropPrivileges(progress.mount, progress.upper !== undefined, host.log)
    host.ready(warnings)
  } catch (error) {
    // Interrupted in the middle, it may still be about to mount: what it makes must be undone too.
    await Promise.race([up.catch(() => undefined), sleep(SETTLE_TIMEOUT_MS, undefined, { ref: false })])
    await tearDown(progress, host, true)
    sweepAfter(progress, host)
    if (!host.hasSuccessor) await announce(options, false, host.log)
    throw error
  }
  // A reader of the FIFO may take its time; the mount must be able to end meanwhile.
  void announce(options, true, host.log)
  const end = await waitForEnd(progress, host, options.idleTimeout)
  sweepAfter(progress, host)
  return end
}

async function bringUp(
  request: MountRequest,
  host: DaemonHost,
  progress: Progress,
): Promise<readonly string[]> {
  const { shared } = host
  const begun = performance.now()
  const { target, images } =
    shared === undefined
      ? await lookAround(request, host.log)
      : { target: request.target, images: shared.open(request) }
  const record = {
    process: ownIdentity(),
    state: 'starting' as const,
    ...(shared === undefined ? {} : { shared: true as const }),
  }
  const entry = createEntry(configOf(request, target), record, isStillMounted)
  progress.entry = entry
  host.entryCreated(entry)
  if (shared === undefined) {
    sweepAllChanges(request.metadataDir, host.log)
    // Paths were resolved against the caller's folder, which must stay free to be unmounted.
    holdDescriptors()
  }
  progress.upper =
    shared === undefined
      ? await openUpper(request, host, progress, { entry, target, images })
      : await shared.openUpper(entry, images)
  const spec = progress.upper === undefined ? images : { ...images, upper: progress.upper.spec }
  const { mount, server } = await mountAndServe(request, host, progress, { entry, spec, target })
  const endedEarly = server.ended.then((end) => {
    throw new FsError('EIO', end.reason === 'failed' ? end.message : 'unmounted before it was ready')
  })
  const ready = Promise.race([server.ready, endedEarly])
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
    ...server.stats(),
  })
  progress.control = await openControl(entry, { status, hold: () => holdChanges(request, spec, server) })
  host.onReportRequest(() => host.report(`statistics: ${JSON.stringify(status())}`))
  for (const warning of mount.warnings) host.log('warn', warning)
  for (const remark of spec.remarks ?? []) host.log('warn', remark)
  for (const { label, facts } of spec.images) {
    if (facts.remark !== undefined) host.log('warn', `${label}: ${facts.remark}`)
  }
  return mount.warnings
}

/** Finds the target and opens the images, and refuses what cannot be mounted. @throws FsError */
async function lookAround(
  request: MountRequest,
  log: Log,
): Promise<{ readonly target: PathText; readonly images: MoleculeSpec }> {
  assertDescriptors(request)
  const isDescriptor = descriptorOf(request.target) !== undefined
  const target = isDescriptor ? request.target : canonicalTarget(request.target, readMountInfo())
  adoptIndexes(request.indexes ?? {})
  const resolve = (): MoleculeSpec => resolveMolecule(request)
  const takesImage = request.changes?.kind === 'ext3'
  const images = takesImage ? await whenFree(request.metadataDir, log, resolve) : resolve()
  await prepareTarget(target, images.imagePaths)
  refuseInside(
    target,
    hostDirectories(images).map(({ label }) => label),
  )
  return { target, images }
}

/** Opens what changes go to, an ext3 file system by the program that writes it. @throws FsError as `openChanges`, `mountExt3` */
async function openUpper(
  request: MountRequest,
  host: DaemonHost,
  progress: Progress,
  where: { readonly entry: OwnEntry; readonly target: PathText; readonly images: MoleculeSpec },
): Promise<OpenUpper | undefined> {
  const { changes } = request
  const { entry, target, images } = where
  if (changes?.kind !== 'ext3') return await openChanges(request, changes, entry, target, images)
  const { upperImage } = images
  if (upperImage === undefined) throw new FsError('EIO', 'no ext3 file system is open')
  const ext3 = await mountExt3(upperImage, entry, host.log)
  progress.ext3 = ext3
  const upper = await openChanges(request, ext3.changes, entry, target, images)
  await ext3.detach()
  // The place of the directories is gone.
  const { label } = upperImage
  return (
    upper && {
      ...upper,
      spec: { ...upper.spec, label, ...(upper.spec.work && { work: { ...upper.spec.work, label } }) },
    }
  )
}

/** @throws FsError EINVAL where the mount takes no changes; EBUSY */
async function holdChanges(request: MountRequest, spec: MoleculeSpec, server: RunningServer): Promise<Hold> {
  const { upper } = upperStatus(request, spec.upper)
  if (spec.upperImage !== undefined) {
    const way = `unmount it, and use 'atomfs-fuse convert'`
    throw new FsError(
      'EOPNOTSUPP',
      `its changes are in ${spec.upperImage.label}, which is open for writing: ${way}`,
    )
  }
  if (upper === undefined) throw new FsError('EINVAL', 'the mount takes no changes')
  const { source, name, rootHash, allowMissingVerity } = request
  const { manifestDigest, subdir } = spec
  const mount = {
    ...{ source, name, allowMissingVerity, upper },
    ...omitUndefined({ manifestDigest, rootHash, subdir }),
  }
  return { mount, release: (await server.holdChanges?.()) ?? (() => undefined) }
}

/** Whether the mount that an entry records is at the place that the entry names, which may be another than ours. */
function isStillMounted({ config, daemon }: RuntimeEntry): boolean {
  return daemon?.device !== undefined && topMountAt(readMountInfo(), config.Target)?.device === daemon.device
}

/** Removes the temporary changes of this mount; the next mount or unmount removes what is left. */
function sweepAfter({ entry }: Progress, { log, shared }: DaemonHost): void {
  if (entry !== undefined && shared === undefined) sweepChanges(entry.held.runDir, log)
}

/** The mount and its server by the driver that was asked for; each stands in `progress` as soon as it exists. */
async function mountAndServe(
  request: MountRequest,
  host: DaemonHost,
  progress: Progress,
  what: { readonly entry: OwnEntry; readonly spec: MoleculeSpec; readonly target: string },
): Promise<{ readonly mount: FuseMount; readonly server: RunningServer }> {
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
  const { mount, serve } = await makeMount(options, host, name, {
    spec: what.spec,
    cacheSize,
    workers,
    kernel,
    log: host.log,
    driverPath: request.driverPath,
  })
  host.mounted()
  progress.mount = mount
  progress.entry = markMounted(what.entry, mount.device)
  const server = serve()
  progress.server = server
  return { mount, server }
}

async function makeMount(
  options: FuseMountOptions,
  { shared }: DaemonHost,
  driver: DriverName,
  served: ServeOptions,
): Promise<DriverMount> {
  if (shared === undefined) return await (await driverNamed(driver)).mount(options, served)
  const mount = await shared.mount(options, served.spec.imagePaths)
  return { mount, serve: () => shared.serve(mount.fuseFd, served) }
}

function configOf(request: MountRequest, target: PathText): MoleculeConfig {
  return {
    ...imageOf(request),
    Target: target,
    AddWriteableOverlay: request.changes !== undefined && !request.options.showsOnly,
    WriteableOverlayPath: changesFolder(request.changes),
    AllowMissingVerityData: request.allowMissingVerity,
    MetadataDir: request.metadataDir ?? '',
  }
}

function imageOf({ source, name }: MountRequest): Pick<MoleculeConfig, 'OCIDir' | 'Tag'> {
  if (isOverlay(source)) return { OCIDir: '', Tag: name }
  // The file is that of atomfs, which knows OCI layouts alone.
  return source.container === 'oci'
    ? { OCIDir: source.path, Tag: source.digest ?? source.tag ?? '' }
    : { OCIDir: '', Tag: source.path }
}

/** @param idleTimeout seconds */
async function waitForEnd(
  progress: Progress,
  host: DaemonHost,
  idleTimeout: number | undefined,
): Promise<EndReason> {
  const { server } = progress
  if (server === undefined) throw new FsError('EIO', 'no server')
  // At once, while the caller's umount(8) is about to return: the file system of the upper may be unmounted next.
  const ended = server.ended.then((end) => {
    if (end.reason === 'unmounted') releaseChanges(progress, host)
    return end
  })
  const idle = deferred<'signal'>()
  const stopWatching = watchIdle(idleTimeout, server, async () => {
    host.log('info', `nobody used the mount for ${idleTimeout} s`)
    if (!(await isStillUsed(progress.mount, host.log))) idle.resolve('signal')
  })
  let end: EndReason
  try {
    const asked = Promise.race([
      host.stopRequested.then(() => 'signal' as const),
      endOfNamespace(host),
      idle.promise,
    ])
    end = await Promise.race([ended, host.fault, asked]).then(async (first) => {
      await notifyManager('STOPPING=1', host.log)
      return typeof first === 'string' ? await drain(progress, ended, host, first) : first
    })
  } catch (error) {
    end = {
      reason: 'failed',
      message: stackOf(error),
    }
  } finally {
    stopWatching()
  }
  if (end.reason === 'failed') {
    host.log('error', end.message)
    // The entry stays, for its log; the next mount or umount of the target removes it.
    await tearDown({ ...progress, entry: undefined }, host)
    if (progress.entry !== undefined) setChangesAside(progress.entry.held.runDir, progress.entry.held.entry)
  } else {
    await tearDown({ ...progress, mount: undefined }, host)
  }
  return end
}

/** The dispatcher, which alone changes the upper, has ended. Never throws. */
function releaseChanges(progress: Progress, { log, shared }: DaemonHost): void {
  const { upper, mount } = progress
  if (upper === undefined || mount === undefined) return
  progress.upper = undefined
  if (shared !== undefined) {
    shared.closeUpper(upper, 'complete')
    return
  }
  closeChanges(upper, false, log)
  try {
    upper.letGo(mount.fuseFd)
  } catch (error) {
    log('debug', messageOf(error))
  }
}

async function endOfNamespace(host: DaemonHost): Promise<'namespace'> {
  await host.namespaceEnd()
  host.log('info', 'nobody is left in the mount namespace')
  return 'namespace'
}

/**
 * Detaches the mount, and serves on until the last user has closed its files, we are asked again, or time is up.
 * @param asked by whom: where the namespace has ended, nobody can have a file open in a mount that stays there
 */
async function drain(
  progress: Progress,
  ended: Promise<EndReason>,
  host: DaemonHost,
  asked: 'signal' | 'namespace',
): Promise<EndReason> {
  const { isFree, wasDetached } = await detach(progress.mount, host.log)
  if (progress.entry !== undefined) removeOwnEntry(progress.entry)
  // An inherited connection has no place to be unmounted from: its owner does that, when we are gone.
  if (progress.mount?.way === 'inherited') return { reason: 'unmounted' }
  if (!isFree && asked === 'namespace') return { reason: 'unmounted' }
  const patience = wasDetached && host.isAwaited ? DETACHED_TIMEOUT_MS : LAST_USERS_TIMEOUT_MS
  const limit = isFree ? patience : COVERED_TIMEOUT_MS
  const unmounted: EndReason = { reason: 'unmounted' }
  const impatient = host.stopAgain.then(() => unmounted)
  const expired = sleep(limit, undefined, { ref: false }).then(() => {
    host.log(
      'warn',
      `still in use ${limit / 1000} s after it was asked to end: its last users get errors from now on`,
    )
    return unmounted
  })
  return await Promise.race([ended, host.fault, impatient, expired])
}

/** Undoes what there is, last first. @param failed there was no mount: what was made for it goes too. Never throws. */
async function tearDown(progress: Progress, { log, shared }: DaemonHost, failed = false): Promise<void> {
  progress.control?.close()
  await detach(progress.mount, log)
  if (progress.server !== undefined) {
    try {
      await withTimeout(progress.server.stop(), STOP_TIMEOUT_MS, 'server threads did not end')
    } catch (error) {
      log('debug', messageOf(error))
    }
  } else if (progress.mount !== undefined) {
    closeSync(progress.mount.fuseFd)
  }
  if (progress.upper !== undefined && shared === undefined) closeChanges(progress.upper, failed, log)
  else if (progress.upper !== undefined) shared?.closeUpper(progress.upper, failed ? 'not made' : 'cut off')
  await progress.ext3?.end()
  if (progress.entry !== undefined) removeOwnEntry(progress.entry)
  // A server of several mounts has none.
  if (shared === undefined) wipeKeys()
}

interface Detached {
  /** No place is left. */
  readonly isFree: boolean
  /** Somebody else had unmounted it from every place before. */
  readonly wasDetached: boolean
}

/**
 * Unmounts lazily every place where this mount is on top. A place that another mount covers, there or further up, is left
 * alone: the connection ends with this process, and what is below answers ENOTCONN.
 */
async function detach(mount: FuseMount | undefined, log: Log): Promise<Detached> {
  if (mount?.device === undefined) return { isFree: true, wasDetached: false }
  let isFree = true
  let wasDetached = false
  try {
    const places = placesOf(readMountInfo(), mount.device)
    wasDetached = places.length === 0
    for (const { place, isReachable } of places) {
      // pivot_root(2) made it our own root directory: we use it ourselves, and would wait for our own end.
      if (place === '/') isFree = false
      // A lookup through a mount above could wait for its server, and that one for us: an overlay over the folder in
      // which its layer is mounted.
      if (isReachable) await unmountFuse(place, true)
      else {
        log('warn', `${place} is covered by another mount and stays`)
        isFree = false
      }
    }
  } catch (error) {
    log('warn', messageOf(error))
    isFree = false
  }
  return { isFree, wasDetached }
}
