import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, type Log, messageOf, type PathText } from '../../base/index.ts'
import type {
  DriverMount,
  DriverName,
  RunningServer,
  ServeOptions,
  SharedServer,
} from '../../drivers/index.ts'
import {
  adoptUpper,
  apartOpener,
  type DirectoryPlace,
  hostDirectories,
  isOverlay,
  type MoleculeSpec,
  type MountSource,
  type OpenUpper,
  resolveMolecule,
} from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { setNonBlocking } from '../../sys/files/descriptor.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import { ownerWarning } from '../client/owner-warning.ts'
import { type LogSink, openLogSink } from '../life/log-sink.ts'
import type { DaemonHost } from '../mount/daemon-host.ts'
import { serveMount } from '../mount/serve-mount.ts'
import type { Opened, ServingProcess, UpperEnd } from '../mount/serving-process.ts'
import { openChanges } from '../runtime/changes.ts'
import { closeEntry, type OwnEntry, removeOwnEntry } from '../runtime/entries.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ClientSource } from './client-source.ts'
import type { MountHosts } from './mount-hosts.ts'
import { OwnThreadsMount } from './own-threads.ts'
import type { Mounted, MountWish, Served, UpperOpened, UpperWish } from './protocol.ts'
import { refused } from './read-wish.ts'
import type { MountServerOptions, ReadWish } from './server-options.ts'

/** fusermount may wait for a lock on the mount table, and directories may lie on a slow disk. */
export const MOUNT_TIMEOUT_MS = 25_000

/** How long a server that ends waits for threads of a mount that has ended. */
const CLOSE_TIMEOUT_MS = 10_000

export interface ServingOptions {
  readonly key: string
  readonly threads: SharedServer
  readonly hosts: MountHosts
  readonly log: Log
  readonly options: MountServerOptions
  /** `major:minor` of all mounts of the server. */
  readonly devices: Set<string>
  /** Whether a mount that was made in this way may be served. */
  allows(way: FuseMount['way']): boolean
}

/** The mount of one client. */
export class OneMount implements ServingProcess {
  readonly isShared = true
  readonly #connection: ClientConnection
  readonly #options: ServingOptions
  readonly #read: ReadWish
  readonly #source: ClientSource
  /** Images that the threads of the server do not have yet. */
  #opened: MoleculeSpec | undefined
  /** Where it has threads of its own. */
  #apart: OwnThreadsMount | undefined
  #log: Log = () => undefined
  /** Paths of directories that it shows. */
  #directories: readonly PathText[] = []
  #entry: OwnEntry | undefined
  #device: string | undefined
  #isReady = false

  constructor(connection: ClientConnection, options: ServingOptions, source: ClientSource, read: ReadWish) {
    this.#connection = connection
    this.#options = options
    this.#source = source
    this.#read = read
  }

  /** @throws FsError why there is no mount */
  async serve(): Promise<void> {
    const { hosts, threads } = this.#options
    const { request } = this.#read
    const sink = openLogSink(request)
    this.#log = sink.log
    const { close, ...events } = hosts.events()
    const host: DaemonHost = {
      ...sink,
      ...events,
      isAwaited: false,
      hasSuccessor: true,
      entryCreated: (entry) => {
        this.#entry = entry
        sink.entryCreated(entry)
      },
      mounted: () => undefined,
      ready: (warnings) => this.#ready(request, warnings),
    }
    try {
      await serveMount(request, host, this)
    } catch (error) {
      if (!this.#isReady) throw error
      sink.log('error', messageOf(error))
    } finally {
      this.#source.close()
      for (const image of this.#opened?.images ?? []) threads.images.release(image)
      threads.dropUnused()
      if (this.#device !== undefined) this.#options.devices.delete(this.#device)
      close()
      const closed = Promise.resolve(this.#apart?.close(this.#entry)).then(() => this.#closeEntry(sink))
      // A server that ends waits for what is being written, and not for a disk that does not answer.
      await Promise.race([closed, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
    }
  }

  /** The client has looked at the target. */
  open(): Promise<Opened> {
    const { request } = this.#read
    const { threads } = this.#options
    const named = (path: PathText): PathText => this.#source.named(path)
    const assertReadable = (device: string): void => this.#assertReadable(device)
    // Their file systems may stop to answer.
    const isApart = request.changes !== undefined || directoriesOf(request.source).length > 0
    const spec = resolveMolecule(
      { ...request, source: this.#source.through(request.source) },
      isApart ? apartOpener(named, assertReadable) : threads.images.opener(named, assertReadable),
    )
    if (isApart) this.#apart = new OwnThreadsMount(threads, spec, this.#log)
    else this.#opened = spec
    this.#source.close()
    const layers = spec.layers.map((one) =>
      typeof one === 'number' ? one : { ...one, label: named(one.label) },
    )
    this.#directories = hostDirectories({ ...spec, layers }).map(({ label }) => label)
    const images = { ...spec, layers, imagePaths: spec.imagePaths.map(named) }
    return Promise.resolve({ target: request.target, images })
  }

  async openUpper(entry: OwnEntry, { images }: Opened): Promise<OpenUpper | undefined> {
    const { request } = this.#read
    const { changes } = request
    if (changes === undefined || changes.kind === 'ext3') return undefined
    const upper =
      changes.kind === 'temporary'
        ? await openChanges(request, changes, entry, request.target, images)
        : await this.#askForUpper(changes)
    this.#apart?.takes(upper)
    return upper
  }

  /** The client resolves the paths, and waits for the disk. @throws FsError */
  async #askForUpper(place: DirectoryPlace): Promise<OpenUpper> {
    const { options, target } = this.#read.request
    const { showsOnly, upper: wished } = options
    const changes = { place, options: { showsOnly, upper: wished }, target }
    const { source } = this.#read.request
    const lowers = directoriesOf(source).map((path) => `lower directory ${path}`)
    this.#connection.send({ changes, lowers } satisfies UpperWish)
    const { message, descriptors } = await this.#connection.receive(MOUNT_TIMEOUT_MS, 2)
    const [upperFd, workFd] = descriptors
    try {
      if (upperFd === undefined) throw new FsError('EPROTO', 'no descriptor of the upper directory')
      const { upper, device } = message as UpperOpened
      if (this.#options.devices.has(device)) throw refused('its changes go to another mount of the server')
      return adoptUpper(upper, upperFd, workFd)
    } catch (error) {
      for (const fd of descriptors) closeSync(fd)
      throw error
    }
  }

  #closeEntry(sink: LogSink): void {
    if (this.#entry !== undefined) {
      // Where the server had no descriptor left, it could not be removed before. That of a mount that failed later stays.
      if (!this.#isReady) removeOwnEntry(this.#entry)
      closeEntry(this.#entry)
    }
    sink.close()
  }

  /** @throws FsError for a file in a mount of this very server, which would wait for itself */
  #assertReadable(device: string): void {
    if (this.#options.devices.has(device)) throw refused('its image lies in another mount of the server')
  }

  /** By the client. */
  async mount(options: FuseMountOptions, _driver: DriverName, served: ServeOptions): Promise<DriverMount> {
    const mount = await this.#mount(options, served.spec.imagePaths)
    return { mount, serve: () => this.#serve(mount.fuseFd, served) }
  }

  #serve(fuseFd: number, served: ServeOptions): RunningServer {
    if (this.#apart !== undefined) return this.#apart.serve(fuseFd, served)
    this.#opened = undefined
    return this.#options.threads.serve(fuseFd, served)
  }

  /** The server did so at its first mount. */
  giveUpRights(): void {}

  closeUpper(upper: OpenUpper, how: UpperEnd): void {
    this.#apart?.closeUpper(upper, how)
  }

  /** `serve` lets go of the images. */
  close(): Promise<void> {
    return Promise.resolve()
  }

  /** Left to clients: there may be much of it. */
  sweep(): void {}

  async #mount(options: FuseMountOptions, imagePaths: readonly PathText[]): Promise<FuseMount> {
    const connection = this.#connection
    connection.send({ mount: options, imagePaths, directories: this.#directories } satisfies MountWish)
    const { message, descriptors } = await connection.receive(MOUNT_TIMEOUT_MS)
    const [fuseFd] = descriptors
    if (fuseFd === undefined) throw new FsError('EPROTO', 'no descriptor of the mount')
    const mount = { ...(message as Mounted), fuseFd }
    try {
      if (!this.#options.allows(mount.way)) throw refused('it was mounted in another way than the others')
      setNonBlocking(fuseFd)
      this.#device = mount.device
      if (mount.device !== undefined) this.#options.devices.add(mount.device)
      return mount
    } catch (error) {
      closeSync(fuseFd)
      throw error
    }
  }

  #ready(request: MountRequest, warnings: readonly string[]): void {
    const connection = this.#connection
    connection.assertAlive()
    const owner = ownerWarning(request)
    connection.send({
      ...{ pid: process.pid, warnings, ignored: this.#read.ignored },
      sweeps: request.changes !== undefined,
      ...(owner === undefined ? {} : { owner }),
    } satisfies Served)
    connection.close()
    this.#isReady = true
  }
}

/** The directories of this machine that a source names, in the order in which the client has opened them. */
function directoriesOf(source: MountSource): readonly PathText[] {
  if (isOverlay(source)) return source.lowers
  return source.container === 'directory' ? [source.path] : []
}
