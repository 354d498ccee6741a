import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { messageOf } from '../../base/index.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { CONTROL_SOCKET, type OwnEntry } from '../runtime/entries.ts'
import {
  CONTROL_TIMEOUT_MS,
  type ControlAnswer,
  type ControlRequest,
  type HeldMount,
  MAX_LINE_BYTES,
  type MountStatus,
} from './control-protocol.ts'

export interface ControlServer {
  close(): void
}

/** What clients may ask of a mount. */
export interface ControlledMount {
  readonly status: () => MountStatus
  /** Makes changes wait. @throws FsError where the mount takes none, or is busy */
  readonly hold: () => Promise<Hold>
}

/** Changes wait. */
export interface Hold {
  readonly mount: HeldMount
  /** They may go on. */
  readonly release: () => void
}

/**
 * Opens the control socket of a runtime entry for its owner alone. The folder of the entry is reached through its
 * descriptor, which stays open as long as the process: the path may be longer than the 107 bytes that a socket address
 * holds (unix(7)), and closing removes the socket by the same address.
 * @throws an error of `node:net`: EMFILE, ENOSPC, …
 */
export async function openControl({ held }: OwnEntry, mount: ControlledMount): Promise<ControlServer> {
  const server = createServer((socket) => serve(socket, mount))
  await listen(server, `${descriptorPath(held.entry.fd)}/${CONTROL_SOCKET}`)
  return { close: () => server.close() }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // Made with no rights for others, so that there is no moment in which they could connect.
    const mask = process.umask(0o177)
    server.once('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve()
    })
    process.umask(mask)
    // The mount, not its control channel, keeps the process alive.
    server.unref()
  })
}

function serve(socket: Socket, mount: ControlledMount): void {
  let text = ''
  socket.setTimeout(CONTROL_TIMEOUT_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
    if (text.length > MAX_LINE_BYTES) socket.destroy()
    else if (text.includes('\n')) {
      socket.pause()
      void answer(socket, text, mount)
    }
  })
}

async function answer(socket: Socket, line: string, mount: ControlledMount): Promise<void> {
  const tell = (reply: ControlAnswer): string => `${JSON.stringify(reply)}\n`
  try {
    const request = JSON.parse(line) as ControlRequest
    if (request.command === 'status') socket.end(tell({ status: mount.status() }))
    else if (request.command === 'hold') await hold(socket, mount, tell)
    else throw new Error(`unknown command ${JSON.stringify((request as { command?: unknown }).command)}`)
  } catch (error) {
    socket.end(tell({ error: messageOf(error) }))
  }
}

/** Changes wait until the connection ends, however the client ends. */
async function hold(
  socket: Socket,
  mount: ControlledMount,
  tell: (reply: ControlAnswer) => string,
): Promise<void> {
  socket.setTimeout(0)
  let isOver = false
  const over = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isOver = true
      resolve()
    })
  })
  const held = await mount.hold()
  void over.then(held.release)
  if (isOver) return
  socket.write(tell({ held: held.mount }))
  // Nothing more is expected: this notices the end.
  socket.resume()
}
