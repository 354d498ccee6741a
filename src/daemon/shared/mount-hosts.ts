import { FsError } from '../../base/index.ts'
import { type Deferred, deferred } from '../../sys/plain/promises.ts'
import type { DaemonHost } from '../mount/daemon-host.ts'

/** What comes from outside to one mount of a server. */
export type MountEvents = Pick<
  DaemonHost,
  'stopRequested' | 'stopAgain' | 'fault' | 'namespaceEnd' | 'onReportRequest'
> & {
  /** The mount has ended. */
  close(): void
}

interface Host {
  readonly stop: Deferred<string>
  readonly again: Deferred<string>
  readonly fault: Deferred<never>
  readonly namespace: Deferred<void>
  report: () => void
}

/**
 * Signals, faults and the end of the mount namespace, handed to all mounts of a server. Each has promises of its own: what
 * waits for one that never comes would stay in memory for as long as the promise does.
 */
export class MountHosts {
  readonly #hosts = new Set<Host>()
  #stopped: string | undefined

  events(): MountEvents {
    const host: Host = {
      stop: deferred(),
      again: deferred(),
      fault: deferred(),
      namespace: deferred(),
      report: () => undefined,
    }
    // Waited for in some phases only: a fault outside of them must not become a second one.
    host.fault.promise.catch(() => undefined)
    this.#hosts.add(host)
    if (this.#stopped !== undefined) host.stop.resolve(this.#stopped)
    return {
      stopRequested: host.stop.promise,
      stopAgain: host.again.promise,
      fault: host.fault.promise,
      namespaceEnd: () => host.namespace.promise,
      onReportRequest: (listener) => {
        host.report = listener
      },
      close: () => this.#hosts.delete(host),
    }
  }

  stop(why: string): void {
    this.#stopped = why
    for (const { stop } of this.#hosts) stop.resolve(why)
  }

  stopAgain(): void {
    for (const { again } of this.#hosts) again.resolve('asked again')
  }

  endNamespace(): void {
    for (const { namespace } of this.#hosts) namespace.resolve()
  }

  fail(fault: unknown): void {
    this.#stopped = 'a fault'
    for (const host of this.#hosts) host.fault.reject(fault ?? new FsError('EIO', 'unknown fault'))
  }

  report(): void {
    for (const { report } of this.#hosts) report()
  }
}
