import { closeSync } from 'node:fs'
import { FsError, messageOf, type PathText } from '../../base/index.ts'
import { receiveWithDescriptors, sendWithDescriptors } from '../../sys/events/unix-stream.ts'
import { Poller } from '../../sys/files/device-io.ts'
import { mountFuse } from '../../sys/mounts/mount.ts'
import { readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { entryUrl } from '../../threads.ts'
import { prepareTarget, refuseInside, refuseToCover } from '../runtime/target.ts'
import { shareKey } from './key.ts'
import {
  encodeMessage,
  type GivenUp,
  Incoming,
  type LowersOpened,
  type LowersWish,
  type MountWish,
  type Refusal,
  type Served,
  type UpperWish,
  type Wish,
} from './protocol.ts'
import { ServerFolder } from './server-folder.ts'

/** What `src/loader.ts` gives to the program that it runs; absent where a program runs without it. */
declare const __import: ((url: string) => Promise<unknown>) | undefined

/** A server may have to read an image whose disk is slow. */
const ANSWER_TIMEOUT_MS = 20_000
/** Longest wait for a server to forget a mount that its client gave up. */
const FORGET_TIMEOUT_MS = 5000
/** Servers that end while they are asked. */
const ATTEMPTS = 3
const PIECE = 64 << 10

/** What a client asks for. */
export interface Asked extends Omit<Wish, 'key'> {
  /** Descriptor of what SOURCE leads to, where there is one. */
  readonly sourceFd: number | undefined
}

/**
 * Has the shared server of this user make a mount, and starts one where there is none.
 * @param start starts a server that accepts at this socket
 * @throws FsError why this way there is no mount; nothing of it is left then
 */
export async function askServer(asked: Asked, start: (listening: number) => void): Promise<Served> {
  const key = shareKey()
  const { sourceFd, ...wish } = asked
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const fd = connect(key, start)
    try {
      const served = await new Talk(fd).mount({ ...wish, key }, sourceFd)
      if (served !== undefined) return served
    } finally {
      closeSync(fd)
    }
  }
  throw new FsError('EAGAIN', 'the shared servers end as soon as they are asked')
}

function connect(key: string, start: (listening: number) => void): number {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    // A server that ends takes the folder with it.
    const folder = ServerFolder.make(key)
    try {
      const fd = folder.connect() ?? startHere(folder, start)
      if (fd !== undefined) return fd
    } finally {
      folder.close()
    }
  }
  throw new FsError('EAGAIN', 'no shared server can be reached')
}

function startHere(folder: ServerFolder, start: (listening: number) => void): number | undefined {
  const listening = folder.listen()
  if (listening === undefined) return folder.connect()
  try {
    start(listening)
    // It need not run to be connected to.
    return folder.connect()
  } finally {
    closeSync(listening)
  }
}

/** One connection, as the client has it. */
class Talk {
  readonly #fd: number
  readonly #poller: Poller
  readonly #incoming = new Incoming()

  constructor(fd: number) {
    this.#fd = fd
    this.#poller = new Poller([fd])
  }

  /** @returns undefined where the server ended before it did anything. @throws FsError */
  async mount(wish: Wish, sourceFd: number | undefined): Promise<Served | undefined> {
    const own: readonly number[] = sourceFd === undefined ? [] : [sourceFd]
    let first: MountWish | UpperWish | LowersWish | undefined
    try {
      sendWithDescriptors(this.#fd, encodeMessage(wish), own)
    } catch {
      return undefined
    }
    // While the server opens the image.
    await prepareTarget(wish.target, [])
    try {
      first = this.#receive()
    } catch (error) {
      if (error instanceof Refused) throw error
      return undefined
    }
    if (first === undefined) return undefined
    try {
      if (!('changes' in first) && 'lowers' in first) return await this.#withLowers(wish.target, first)
      return await this.#withUpper(wish.target, first, own)
    } catch (error) {
      if (!(error instanceof Refused)) this.#giveUp(messageOf(error))
      throw error
    }
  }

  /** Whoever is told why there is no mount may ask for the same one at once, so the server has to have forgotten it. */
  #giveUp(givenUp: string): void {
    try {
      sendWithDescriptors(this.#fd, encodeMessage({ givenUp } satisfies GivenUp), [])
      this.#receive(FORGET_TIMEOUT_MS)
    } catch {
      // It has refused, as it should, or is gone.
    }
  }

  async #withLowers(target: PathText, { lowers }: LowersWish): Promise<Served> {
    const { openLowersForServer } = await loadDirectories()
    const opened = openLowersForServer(lowers)
    try {
      const message: LowersOpened = { opened: opened.length }
      return await this.#withUpper(target, this.#ask(message, opened), opened)
    } finally {
      for (const fd of opened) closeSync(fd)
    }
  }

  /** @param opened what the server knows of directories */
  async #withUpper(
    target: PathText,
    asked: MountWish | UpperWish,
    opened: readonly number[],
  ): Promise<Served> {
    if ('mount' in asked) return await this.#make(target, asked)
    const { openUpperForServer } = await loadDirectories()
    const upper = await openUpperForServer(asked, opened)
    try {
      return await this.#make(target, this.#ask(upper.message, upper.descriptors))
    } catch (error) {
      upper.undo()
      throw error
    }
  }

  /** @throws FsError where there is no answer */
  #ask<T extends object>(message: object, descriptors: readonly number[]): T {
    sendWithDescriptors(this.#fd, encodeMessage(message), descriptors)
    const answer = this.#receive<T>()
    if (answer === undefined) throw new FsError('EIO', 'the shared server has ended')
    return answer
  }

  /** Mounts, and gives the mount to the server. @throws FsError */
  async #make(target: PathText, asked: MountWish): Promise<Served> {
    refuseToCover(target, asked.imagePaths)
    refuseInside(target, asked.directories)
    const { fuseFd, ...mounted } = await mountFuse(asked.mount)
    try {
      return this.#ask<Served>(mounted, [fuseFd])
    } catch (error) {
      await undo(target, mounted.device)
      throw error
    } finally {
      closeSync(fuseFd)
    }
  }

  /** @returns the next message; undefined where the server has closed the connection. @throws FsError, Refused */
  #receive<T extends object>(timeoutMs = ANSWER_TIMEOUT_MS): T | undefined {
    for (const end = now() + timeoutMs; ; ) {
      const message = this.#incoming.take() as T | Refusal | undefined
      if (message !== undefined) {
        if ('refused' in message) throw new Refused(message.code, message.refused)
        return message
      }
      const left = end - now()
      if (left <= 0) throw new FsError('ETIMEDOUT', 'the shared server does not answer')
      if (this.#poller.wait(Math.ceil(left)) <= 0) continue
      const received = receiveWithDescriptors(this.#fd, PIECE, 0, false)
      if (received === undefined) continue
      if (received.data.length === 0) return undefined
      this.#incoming.add(received.data)
    }
  }
}

/** Of a clock that nobody sets, ms. Loading `performance` takes 1 ms. */
function now(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

/** What opens directories: few mounts need it, and it is most of the code of a client. */
export async function loadDirectories(): Promise<typeof import('./open-directories.ts')> {
  const url = entryUrl('open-directories').href
  const module = typeof __import === 'undefined' ? import(url) : __import(url)
  return (await module) as typeof import('./open-directories.ts')
}

/** The server will not make the mount. */
class Refused extends FsError {}

/** Unmounts what was mounted, unless the server has done so. */
async function undo(target: PathText, device: string | undefined): Promise<void> {
  try {
    const top = topMountAt(readMountInfo(), target)
    if (top !== undefined && top.device === device) await unmountFuse(target, true)
  } catch {
    // The server did it meanwhile, or nobody can.
  }
}
