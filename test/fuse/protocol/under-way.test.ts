import { expect, test } from 'vitest'
import { type FileSystem, Postponed, ReadPostponed, type Steps, Work } from '../../../src/base/index.ts'
import { allocateRequestMemory, InlineDataPath, leftBehind, Protocol } from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { MemoryBlockStore } from '../support/memory-file-system.ts'
import { message, u32, u64 } from '../support/messages.ts'

/** What other threads see of the requests that a dispatcher has not answered. */

const NODE = 2 ** 40 + 77

function server(methods: Partial<FileSystem>) {
  const requests = allocateRequestMemory()
  const open = (negotiated?: { minor: number; flags: number }) => {
    const fileSystem = methods as FileSystem
    const dataPath = new InlineDataPath(fileSystem, new MemoryBlockStore(), () => 0, 0)
    return new Protocol({ fileSystem, dataPath, log: () => undefined, requests, negotiated })
  }
  const protocol = open()
  const ask = (unique: number, opcode: number, body: Uint8Array = Buffer.alloc(16)) => {
    const bytes = message(opcode, NODE, body)
    bytes.writeUInt32LE(unique, 8)
    bytes.writeUInt32LE(unique * 2, 12)
    protocol.requestBytes.set(bytes)
    return protocol.handle(bytes.length)
  }
  const tokens = () => leftBehind(requests).tokens.map(({ low, high }) => [low, high])
  return { requests, protocol, ask, tokens, open }
}

function* waits(handle: { over: boolean }): Steps {
  while (!handle.over) yield 'waiting'
}

test('the last request and the postponed ones are seen, each until it is answered', () => {
  const handle = { over: false }
  const { protocol, ask, tokens } = server({
    getattr: () => {
      if (handle.over) throw new Error('answered')
      throw new ReadPostponed(new Work(waits(handle)))
    },
    readlink: () => new Uint8Array(3),
  })
  expect(tokens()).toEqual([])
  for (const unique of [3, 4, 5]) expect(ask(unique, abi.FUSE_GETATTR)).toBe('taken')
  expect(ask(6, abi.FUSE_READLINK)).toBe('reply')
  expect(tokens()).toEqual([
    [6, 12],
    [3, 6],
    [4, 8],
    [5, 10],
  ])
  // The caller of one has given up: its answer is that of the INTERRUPT.
  expect(ask(7, abi.FUSE_INTERRUPT, u32(4, 8))).toBe('reply')
  expect(tokens().slice(1)).toEqual([
    [3, 6],
    [5, 10],
  ])
  handle.over = true
  let sent = 0
  // One step of work each.
  for (let round = 0; round < 2; round++) protocol.proceed(() => (sent += 1))
  expect(sent).toBe(2)
  expect(tokens()).toEqual([[5, 10]])
})

test('a request that is postponed again is seen once', () => {
  const handles = [{ over: true }, { over: false }]
  const { protocol, ask, tokens } = server({
    getattr: () => {
      throw new Postponed(new Work(waits(handles.shift() ?? { over: false })))
    },
    readlink: () => new Uint8Array(3),
  })
  ask(3, abi.FUSE_GETATTR)
  protocol.proceed(() => undefined)
  ask(4, abi.FUSE_READLINK)
  expect(tokens()).toEqual([
    [4, 8],
    [3, 6],
  ])
})

test('what a thread was handling when it ended is seen, and nothing between two requests', () => {
  const { requests, ask, open } = server({})
  expect(leftBehind(requests).handled).toBeUndefined()
  ask(3, abi.FUSE_GETATTR)
  expect(leftBehind(requests).handled).toBeUndefined()
  const dying = new Protocol({
    fileSystem: {} as FileSystem,
    dataPath: {} as never,
    log: () => undefined,
    requests,
    counters: {
      add: () => undefined,
      addRequest: () => {
        throw new Error('a bug outside of handlers')
      },
    },
  })
  const bytes = message(abi.FUSE_READLINK, NODE, u64(0))
  dying.requestBytes.set(bytes)
  expect(() => dying.handle(bytes.length)).toThrow('outside of handlers')
  expect(leftBehind(requests).handled).toEqual({ opcode: abi.FUSE_READLINK, nodeId: NODE })
  open()
  expect(leftBehind(requests)).toMatchObject({ handled: undefined, isComplete: true })
})

test('more postponed requests than have room are told of', () => {
  const { requests, ask } = server({
    getattr: () => {
      throw new ReadPostponed(new Work(waits({ over: false })))
    },
  })
  for (let unique = 1; unique <= 1024; unique++) ask(unique, abi.FUSE_GETATTR)
  expect(leftBehind(requests)).toMatchObject({ isComplete: true })
  ask(1025, abi.FUSE_GETATTR)
  expect(leftBehind(requests)).toMatchObject({ isComplete: false })
  expect(ask(2000, abi.FUSE_INTERRUPT, u32(1025, 2050))).toBe('reply')
  expect(leftBehind(requests)).toMatchObject({ isComplete: true })
})

test('a protocol that goes on for another one needs no INIT', () => {
  const { open } = server({})
  const protocol = open({ minor: 31, flags: abi.FUSE_WRITEBACK_CACHE })
  const bytes = message(abi.FUSE_LSEEK, NODE, Buffer.concat([u64(0), u64(0), u32(3, 0)]))
  protocol.requestBytes.set(bytes)
  expect(protocol.handle(bytes.length)).toBe('reply')
  // With the write-back cache LSEEK is answered with ENOSYS.
  expect(protocol.replyBytes.readInt32LE(4)).toBe(-38)
})
