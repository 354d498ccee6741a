import { createServer, type Server } from 'node:net'
import { type Log, messageOf } from '../../base/index.ts'
import { SharedServer } from '../../drivers/index.ts'
import { holdDescriptors } from '../../sys/plain/proc.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import { raiseOpenFiles } from '../../sys/process/limits.ts'
import { closeInheritedDescriptors } from '../../sys/process/process.ts'
import { setUmask0 } from '../../sys/process/session.ts'
import { LogFile, limitLog } from '../life/log.ts'
import { placeIn } from '../life/log-sink.ts'
import { namespaceEnd, TITLE } from '../life/namespace-watch.ts'
import { processEvents } from '../life/process-events.ts'
import { dropServerPrivileges } from '../mount/privileges.ts'
import { LOG_FILE } from '../runtime/entries.ts'
import { ClientConnection, listenForClients } from './client-connection.ts'
import { shareKey } from './key.ts'
import { MountHosts } from './mount-hosts.ts'
import { assertFriend, refuse, serveClient } from './serve-client.ts'
import type { MountServerOptions } from './server-options.ts'
import { LISTENING_FD } from './start-server.ts'

export type { SourceWord } from './protocol.ts'
export type { MountServerOptions, ReadWish } from './server-options.ts'

import { ServerFolder } from './server-folder.ts'

/** How long a server waits for another mount after its last one. */
const LINGER_MS = 10_000
/** By then everything has run that a start runs. */
const SAVE_AFTER_MS = 1000

/** Serves clients until nobody has wanted a mount for a while. @returns the exit code */
export async function runMountServer(options: MountServerOptions): Promise<number> {
  // What the first client's caller had open is his.
  closeInheritedDescriptors([LISTENING_FD])
  process.title = `${TITLE} server`
  const key = shareKey()
  raiseOpenFiles()
  // That of the first client is not for all. Threads of writable mounts have one of their own (`clearUmaskHere`).
  setUmask0()
  const folder = ServerFolder.make(key)
  const file = new LogFile()
  file.open(placeIn(folder.folder, LOG_FILE))
  const log = limitLog('info', file.log)
  const events = processEvents(false, log)
  const threads = new SharedServer({ ...options.defaults, log })
  holdDescriptors()
  listenForClients()
  const server = new MountServer(options, { key, folder, log, threads })
  void events.stopRequested.then((why) => server.stop(why))
  void events.stopAgain.then(() => server.hosts.stopAgain())
  void namespaceEnd().then(() => server.hosts.endNamespace())
  events.onReportRequest(() => server.hosts.report())
  events.fault.catch((fault: unknown) => server.fail(fault))
  void threads.failed.then(() => server.fail(undefined))
  setTimeout(saveCompiledCode, SAVE_AFTER_MS).unref()
  const code = await server.ended
  threads.stop()
  return code
}

interface ServerParts {
  readonly key: string
  readonly folder: ServerFolder
  readonly log: Log
  readonly threads: SharedServer
}

/** The clients and mounts of a server process. */
class MountServer {
  readonly hosts = new MountHosts()
  /** The exit code. */
  readonly ended: Promise<number>
  readonly #parts: ServerParts
  readonly #options: MountServerOptions
  readonly #accepting: Server
  readonly #devices = new Set<string>()
  #end: (code: number) => void = () => undefined
  /** Clients that are being served, until the end of their mounts. */
  #clients = 0
  #timer: NodeJS.Timeout | undefined
  #isStopping = false
  #hadStranger = false
  #code = 0
  /** How the mounts of this server were made, which decides what it may give up. */
  #way: string | undefined

  constructor(options: MountServerOptions, parts: ServerParts) {
    this.#options = options
    this.#parts = parts
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#accepting = createServer({ pauseOnConnect: true }, (socket) => {
      void this.#serve(new ClientConnection(socket))
    })
    this.#accepting.on('error', (error) => parts.log('error', `accept: ${error.message}`))
    this.#accepting.listen({ fd: LISTENING_FD })
    this.#linger()
  }

  /** Ends all mounts, and the server with the last of them. */
  stop(why: string): void {
    this.#leave()
    this.hosts.stop(why)
  }

  /** @param fault absent where the mounts know of it */
  fail(fault: unknown): void {
    this.#code = 1
    this.#leave()
    if (fault !== undefined) this.hosts.fail(fault)
  }

  /** Makes no mounts any more. */
  #leave(): void {
    if (this.#isStopping) return
    this.#isStopping = true
    this.#letGo(() => false)
    this.#linger()
  }

  async #serve(connection: ClientConnection): Promise<void> {
    if (!this.#isFriend(connection)) return
    this.#clients += 1
    clearTimeout(this.#timer)
    const { key, threads, log } = this.#parts
    try {
      await serveClient(connection, {
        ...{ key, threads, log, hosts: this.hosts, devices: this.#devices, options: this.#options },
        allows: (way) => this.#allows(way),
      })
    } catch (error) {
      log('warn', `a client: ${messageOf(error)}`)
    } finally {
      connection.close()
      this.#clients -= 1
      this.#linger()
    }
  }

  /** Nothing waits for others, not even the end of the server. @returns false where the connection is closed */
  #isFriend(connection: ClientConnection): boolean {
    try {
      assertFriend(connection)
      return true
    } catch (error) {
      // One line, however often they come.
      if (!this.#hadStranger) this.#parts.log('warn', `a client: ${messageOf(error)}`)
      this.#hadStranger = true
      refuse(connection, error)
      connection.close()
      return false
    }
  }

  /** Whether a mount that was made in this way fits the others; the first one decides. */
  #allows(way: string): boolean {
    if (this.#way === undefined) {
      this.#way = way
      if (way === 'mount') dropServerPrivileges(this.#parts.log)
    }
    return this.#way === way
  }

  #linger(): void {
    if (this.#clients > 0) return
    clearTimeout(this.#timer)
    const end = (): void => {
      if (this.#isStopping || this.#letGo(() => this.#clients > 0)) this.#end(this.#code)
      else this.#linger()
    }
    this.#timer = setTimeout(end, this.#isStopping ? 0 : LINGER_MS)
  }

  /** Lets no further client in. @returns false where one is there. Never throws */
  #letGo(isWanted: () => boolean): boolean {
    try {
      if (!this.#parts.folder.leave(isWanted, this.#code === 0)) return false
    } catch (error) {
      this.#parts.log('debug', messageOf(error))
    }
    this.#accepting.close()
    return true
  }
}
