import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  connectStream,
  listenStream,
  peerOf,
  receiveWithDescriptors,
  sendWithDescriptors,
} from '../../../src/sys/events/unix-stream.ts'
import { withTempDir } from '../../library/index.ts'

test('bytes and descriptors go through a stream, and each side knows the other', async () => {
  await withTempDir(async (folder) => {
    const address = join(folder, 'socket')
    expect(connectStream(address)).toBeUndefined()
    const listening = listenStream(address)
    const server = createServer({ pauseOnConnect: true })
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
    server.listen({ fd: listening })
    const client = connectStream(address) ?? -1
    const file = openSync(import.meta.filename, 'r')
    try {
      const socket = await accepted
      const fd = (socket as unknown as { _handle: { fd: number } })._handle.fd
      expect([peerOf(client), peerOf(fd)].map(({ uid }) => uid)).toEqual([
        process.getuid?.(),
        process.getuid?.(),
      ])
      expect(peerOf(fd).pid).toBe(process.pid)
      expect(receiveWithDescriptors(fd, 16, 2, false)).toBeUndefined()
      sendWithDescriptors(client, Buffer.from('hello'), [file, file])
      const received = receiveWithDescriptors(fd, 16, 2, false)
      expect(Buffer.from(received?.data ?? []).toString()).toBe('hello')
      expect(received?.descriptors.map((one) => fstatSync(one).ino)).toEqual([
        fstatSync(file).ino,
        fstatSync(file).ino,
      ])
      const [first = -1] = received?.descriptors ?? []
      expect(readFileSync(first, 'utf8')).toContain('each side knows the other')
      for (const one of received?.descriptors ?? []) closeSync(one)
      closeSync(client)
      expect(receiveWithDescriptors(fd, 16, 2, true)?.data.length).toBe(0)
      socket.destroy()
    } finally {
      closeSync(file)
      server.close()
    }
    expect(connectStream(address)).toBeUndefined()
  })
})
