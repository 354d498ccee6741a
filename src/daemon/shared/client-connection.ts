import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { FsError } from '../../base/index.ts'
import { type Peer, peerOf, receiveWithDescriptors } from '../../sys/events/unix-stream.ts'
import { encodeMessage, Incoming } from './protocol.ts'

/** Most bytes, and descriptors, that are taken at once. */
const PIECE = 64 << 10
const MOST_DESCRIPTORS = 4
/** How long the connection is looked at in each turn of the event loop: a client answers within this time. */
const BUSY_MS = 3
/** Longest pause between two looks after that. */
const LONGEST_PAUSE_MS = 20

/** A message, and the descriptors that came with it, which the receiver closes. */
export interface Delivery {
  readonly message: unknown
  readonly descriptors: readonly number[]
}

/**
 * The connection of one client. Node would read from it and close descriptors that come with the bytes, so the socket is
 * paused for good, and this class looks for messages: there is no way to wait for them but a thread.
 */
export class ClientConnection {
  readonly #socket: Socket
  readonly #fd: number
  readonly #incoming = new Incoming()
  readonly #descriptors: number[] = []

  /** @param socket accepted with `pauseOnConnect` */
  constructor(socket: Socket) {
    this.#socket = socket
    // A reader that is gone shows at the next look.
    socket.on('error', () => undefined)
    const handle = (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle
    this.#fd = handle?.fd ?? -1
  }

  /** @throws FsError */
  get peer(): Peer {
    return peerOf(this.#fd)
  }

  /** @throws FsError ETIMEDOUT; EPIPE where the client has ended; EPROTO for what is no message */
  async receive(timeoutMs: number): Promise<Delivery> {
    const begun = performance.now()
    for (let pause = 1; ; ) {
      const message = this.#look()
      if (message !== undefined) return { message, descriptors: this.#descriptors.splice(0) }
      const waited = performance.now() - begun
      if (waited > timeoutMs) throw new FsError('ETIMEDOUT', 'the client says nothing')
      if (waited < BUSY_MS) await turn()
      else {
        await sleep(pause, undefined, { ref: false })
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
      }
    }
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
      const received = receiveWithDescriptors(this.#fd, PIECE, MOST_DESCRIPTORS, false)
      if (received === undefined) return undefined
      this.#descriptors.push(...received.descriptors)
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
