import { closeSync, constants, openSync, readSync } from 'node:fs'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { addressOf, lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/**
 * Writes a file by asynchronous direct I/O (io_submit(2)) while another thread reads it through the page cache, and
 * reads it through the page cache after each write that is complete. What it finds there must be what it wrote.
 * Prints how many pages were out of date.
 */
const [path = '', rounds = '100', size = '1048576'] = process.argv.slice(2)

/** io_setup, io_getevents, io_submit: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h */
const [SETUP, GETEVENTS, SUBMIT] = process.arch === 'x64' ? [206, 208, 209] : [0, 4, 2]
const IOCB_CMD_PWRITE = 1
const PAGE = 4096

function readForever(): void {
  const fd = openSync(path, 'r')
  const page = Buffer.alloc(PAGE)
  const pages = Number(size) / PAGE
  const stop = new Int32Array(workerData as SharedArrayBuffer)
  for (let i = 0; Atomics.load(stop, 0) === 0; i++) readSync(fd, page, 0, PAGE, (i % pages) * PAGE)
  closeSync(fd)
}

function writeAndCompare(): number {
  const syscall = libcFunction(
    'int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)',
  )
  const call = (what: string, ...args: number[]): void => {
    if (Number(syscall(...args)) < 0) throw new Error(`${what}: errno ${lastErrno()}`)
  }
  // A page more, so that what is written can begin where a page of memory begins.
  const [memory, context, iocb, list, event] = [Number(size) + PAGE, 8, 64, 8, 32].map((length) =>
    Buffer.alloc(length),
  )
  if (!memory || !context || !iocb || !list || !event) throw new Error('no memory')
  const start = (PAGE - (addressOf(memory) % PAGE)) % PAGE
  const data = memory.subarray(start, start + Number(size))
  call('io_setup', SETUP ?? 0, 8, addressOf(context), 0, 0, 0)
  const direct = openSync(path, constants.O_RDWR | constants.O_DIRECT)
  const cached = openSync(path, 'r')
  // struct iocb (include/uapi/linux/aio_abi.h)
  iocb.writeUInt16LE(IOCB_CMD_PWRITE, 16)
  iocb.writeUInt32LE(direct, 20)
  iocb.writeBigUInt64LE(BigInt(addressOf(data)), 24)
  iocb.writeBigUInt64LE(BigInt(size), 32)
  list.writeBigUInt64LE(BigInt(addressOf(iocb)), 0)
  const id = Number(context.readBigUInt64LE(0))
  const found = Buffer.alloc(Number(size))
  let stale = 0
  for (let round = 1; round <= Number(rounds); round++) {
    data.fill(round % 256)
    call('io_submit', SUBMIT ?? 0, id, 1, addressOf(list), 0, 0)
    call('io_getevents', GETEVENTS ?? 0, id, 1, 1, addressOf(event), 0)
    if (Number(event.readBigInt64LE(16)) !== Number(size))
      throw new Error(`wrote ${event.readBigInt64LE(16)}`)
    readSync(cached, found, 0, Number(size), 0)
    for (let at = 0; at < found.length; at += PAGE) if (found[at] !== round % 256) stale += 1
  }
  for (const fd of [direct, cached]) closeSync(fd)
  return stale
}

if (isMainThread) {
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const readers = [0, 1].map(
    () => new Worker(new URL(import.meta.url), { workerData: stop.buffer, argv: process.argv.slice(2) }),
  )
  try {
    console.log(writeAndCompare())
  } finally {
    Atomics.store(stop, 0, 1)
    await Promise.all(readers.map((reader) => reader.terminate()))
  }
} else readForever()
