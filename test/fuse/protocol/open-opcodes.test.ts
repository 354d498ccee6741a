import { expect, test } from 'vitest'
import { InlineDataPath, Protocol } from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { FILE_NODE, MemoryBlockStore, MemoryFileSystem } from '../support/memory-file-system.ts'
import { message, u32, u64 } from '../support/messages.ts'

test('a mount that counts opens answers them with the flags that keep caches', () => {
  const fileSystem = new MemoryFileSystem()
  const counts = { requests: 0, openFiles: 0 }
  const protocol = new Protocol({
    fileSystem,
    dataPath: new InlineDataPath(fileSystem, new MemoryBlockStore(), () => 0, 1 << 20),
    kernel: { countsOpens: true },
    counters: {
      addRequest: () => {
        counts.requests += 1
      },
      add: (counter, amount) => {
        counts[counter] += amount
      },
    },
    log: () => undefined,
  })
  const ask = (opcode: number, body: Uint8Array) => {
    const request = message(opcode, FILE_NODE, body)
    protocol.requestBytes.set(request)
    expect(protocol.handle(request.length)).toBe('reply')
    const reply = protocol.replyBytes.subarray(0, protocol.replySize)
    expect(reply.readInt32LE(4)).toBe(0)
    return Buffer.from(reply.subarray(16))
  }
  // struct fuse_open_out: handle, open_flags, padding. FOPEN_KEEP_CACHE is 2, FOPEN_CACHE_DIR 8.
  expect(ask(abi.FUSE_OPEN, u32(0, 0))).toEqual(Buffer.concat([u64(0), u32(2, 0)]))
  expect(ask(abi.FUSE_OPENDIR, u32(0, 0))).toEqual(Buffer.concat([u64(0), u32(10, 0)]))
  expect(counts.openFiles).toBe(2)
  expect(ask(abi.FUSE_RELEASE, Buffer.alloc(24)).length).toBe(0)
  expect(ask(abi.FUSE_RELEASEDIR, Buffer.alloc(24)).length).toBe(0)
  expect(counts).toEqual({ requests: 4, openFiles: 0 })
})
