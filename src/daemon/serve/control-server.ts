import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { messageOf } from '../../base/index.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { CONTROL_SOCKET, type OwnEntry } from '../runtime/entries.ts'
import {
  CONTROL_TIMEOUT_MS,
  type ControlAnswer,
  type ControlRequest,
  MAX_LINE_BYTES,
  type MountStatus,
} from './control-protocol.ts'

export interface ControlServer {
  close(): void
}

/**
 * Opens the control socket of a runtime entry for its owner alone. The folder of the entry is reached through its
 * descriptor, which stays open as long as the process: the path may be longer than the 107 bytes that a socket address
 * holds (unix(7)), and closing removes the socket by the same address.
 * @throws an error of `node:net`: EMFILE, ENOSPC, …
 */
export async function openControl({ held }: OwnEntry, status: () => MountStatus): Promise<ControlServer> {
  const server = createServer((socket) => serve(socket, status))
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

function serve(socket: Socket, status: () => MountStatus): void {
  let text = ''
  socket.setTimeout(CONTROL_TIMEOUT_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
    if (text.length > MAX_LINE_BYTES) socket.destroy()
    else if (text.includes('\n')) socket.end(`${JSON.stringify(answer(text, status))}\n`)
  })
}

function answer(line: string, status: () => MountStatus): ControlAnswer {
  try {
    const request = JSON.parse(line) as ControlRequest
    if (request.command === 'status') return { status: status() }
    return { error: `unknown command ${JSON.stringify(request.command)}` }
  } catch (error) {
    return { error: messageOf(error) }
  }
}
