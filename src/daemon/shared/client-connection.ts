import { EventEmitter } from 'node:events'
import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { FsError } from '../../base/index.ts'
import { announceBySignal, type Peer, peerOf, receiveWithDescriptors } from '../../sys/events/unix-stream.ts'
import { encodeMessage, type GivenUp, Incoming } from './protocol.ts'

/** Most bytes that are taken at once. */
const PIECE = 64 << 10
/** Between two looks where no signal comes, and where one should come. */
const PAUSE_MS = 20
const SIGNALLED_PAUSE_MS = 500

/** Wakes whoever waits for a message of any client. */
const news = new EventEmitter()
news.setMaxListeners(0)

/** To be called once in the process, before there are connections. */
export function listenForClients(): void {
  process.on('SIGURG', () => news.emit('look'))
}

/** A message, and the descriptors that came with it, which the receiver closes. */
export interface Delivery {
  readonly message: unknown
  readonly descriptors: readonly number[]
}

/**
 * The connection of one client. Node would read from it and close descriptors that come with the bytes, so the socket is
 * paused for good, and a signal of the kernel says when there is something to receive.
 */
export class ClientConnection {
  readonly #socket: Socket
  readonly #fd: number
  readonly #incoming = new Incoming()
  readonly #descriptors: number[] = []
  readonly #pauseMs: number
  /** Those that may come with the next message. */
  #most = 1

  /** @param socket accepted with `pauseOnConnect` */
  constructor(socket: Socket) {
    this.#socket = socket
    // A reader that is gone shows at the next look.
    socket.on('error', () => undefined)
    const handle = (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle
    this.#fd = handle?.fd ?? -1
    this.#pauseMs = announceBySignal(this.#fd) ? SIGNALLED_PAUSE_MS : PAUSE_MS
  }

  /** @throws FsError */
  get peer(): Peer {
    return peerOf(this.#fd)
  }

  /**
   * @param most descriptors that may come with it
   * @throws FsError ETIMEDOUT; EPIPE where the client has ended; ECANCELED where it gave up; EPROTO for what is no message
   */
  async receive(timeoutMs: number, most = 1): Promise<Delivery> {
    this.#most = most
    for (const end = performance.now() + timeoutMs; ; await this.#news()) {
      const message = this.#look()
      if (message !== undefined) {
        assertGoingOn(message)
        return { message, descriptors: this.#descriptors.splice(0) }
      }
      if (performance.now() > end) throw new FsError('ETIMEDOUT', 'the client says nothing')
    }
  }

  /** Resolves at the next signal, or after a pause. */
  #news(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        news.off('look', wake)
        resolve()
      }
      const timer = setTimeout(wake, this.#pauseMs)
      news.once('look', wake)
    })
  }

  /** @throws FsError EPIPE where the client has ended */
  assertAlive(): void {
    if (this.#look() !== undefined) throw new FsError('EPROTO', 'the client says too much')
  }

  send(message: object): void {
    this.#socket.write(encodeMessage(message))
  }

  close(): void {
    for (const fd of this.#descriptors.splice(0)) closeSync(fd)
    this.#socket.destroySoon()
  }

  #look(): unknown {
    for (;;) {
      const message = this.#take()
      if (message !== undefined) return message
      if (this.#socket.destroyed) throw new FsError('EPIPE', 'the connection is closed')
      const received = receiveWithDescriptors(this.#fd, PIECE, this.#most, false)
      if (received === undefined) return undefined
      this.#descriptors.push(...received.descriptors)
      if (this.#descriptors.length > this.#most) throw new FsError('EPROTO', 'the client sends descriptors')
      if (received.data.length === 0) throw new FsError('EPIPE', 'the client has ended')
      this.#incoming.add(received.data)
    }
  }

  #take(): unknown {
    try {
      return this.#incoming.take()
    } catch (error) {
      throw new FsError('EPROTO', 'the client sends no messages', { cause: error })
    }
  }
}

/** @throws FsError ECANCELED */
function assertGoingOn(message: unknown): void {
  const { givenUp } = Object(message) as Partial<GivenUp>
  if (givenUp !== undefined) throw new FsError('ECANCELED', `gave up: ${givenUp}`)
}
