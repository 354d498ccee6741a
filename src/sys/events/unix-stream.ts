import { closeSync } from 'node:fs'
import { ERRNO } from '../../base/index.ts'
import { F_GETFL, F_SETFL, fcntl } from '../ffi/fcntl.ts'
import { addressOf, lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket } from '../ffi/sockets.ts'
import { encodeUnixAddress } from '../process/unix-datagram.ts'

/** Streams of unix sockets that carry descriptors (unix(7)). Node can neither send nor receive those of files. */

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const SO_PEERCRED = 17
const SO_SNDTIMEO = 21
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000
/** `struct cmsghdr` on 64-bit Linux: length (8, musl: 4 and padding), level, type, then the data. */
const CMSG_DATA_OFFSET = 16
const INT = 4

const connect = libcFunction('int connect(int fd, const uint8_t *address, uint32_t size)')
const bind = libcFunction('int bind(int fd, const uint8_t *address, uint32_t size)')
const listen = libcFunction('int listen(int fd, int backlog)')
const getsockopt = libcFunction(
  'int getsockopt(int fd, int level, int option, uint8_t *value, uint8_t *length)',
)
const setsockopt = libcFunction(
  'int setsockopt(int fd, int level, int option, const uint8_t *value, uint32_t length)',
)
const sendmsg = libcFunction('int64_t sendmsg(int fd, const void *message, int flags)')
const recvmsg = libcFunction('int64_t recvmsg(int fd, void *message, int flags)')

/** Clients that may wait to be accepted. */
const BACKLOG = 512
/** How long a client waits for room in that queue, or for its message to be taken, seconds. */
const SEND_TIMEOUT_S = 5

// include/uapi/asm-generic/fcntl.h
const F_SETSIG = 10
const F_SETOWN_EX = 15
const F_OWNER_TID = 0
const O_ASYNC = 0o20000
const SIGURG = 23

const fcntlAt = libcFunction('int fcntl(int fd, int command, const uint8_t *argument)')

/**
 * Has the kernel send SIGURG to the main thread whenever there is something to receive (fcntl(2), O_ASYNC). Without a
 * handler that signal does nothing. Node can wait for a stream only by reading it, and then loses descriptors.
 * @returns false where the kernel does not
 */
export function announceBySignal(fd: number): boolean {
  const owner = Buffer.alloc(2 * INT)
  owner.writeInt32LE(F_OWNER_TID, 0)
  owner.writeInt32LE(process.pid, INT)
  if (Number(fcntlAt(fd, F_SETOWN_EX, owner)) !== 0 || Number(fcntl(fd, F_SETSIG, SIGURG)) !== 0) return false
  const flags = Number(fcntl(fd, F_GETFL, 0))
  return flags >= 0 && Number(fcntl(fd, F_SETFL, flags | O_ASYNC)) === 0
}

/** Who is at the other end, at the time of connect(2) or listen(2). */
export interface Peer {
  readonly pid: number
  readonly uid: number
}

/**
 * Connects to a socket.
 * @returns undefined where nobody listens
 * @throws FsError EACCES, …; EAGAIN where nobody accepts for seconds, and so does sending then
 */
export function connectStream(address: string): number | undefined {
  const fd = openSocket()
  limitWaiting(fd)
  const bytes = encodeUnixAddress(address)
  if (Number(connect(fd, bytes, bytes.length)) === 0) return fd
  const error = systemError(`connect to ${address}`)
  closeSync(fd)
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return undefined
  throw error
}

/** Makes a socket of that name, and listens to it. @throws FsError EADDRINUSE, EACCES, ENOSPC, … */
export function listenStream(address: string): number {
  const fd = openSocket()
  const bytes = encodeUnixAddress(address)
  if (Number(bind(fd, bytes, bytes.length)) === 0 && Number(listen(fd, BACKLOG)) === 0) return fd
  const error = systemError(`listen at ${address}`)
  closeSync(fd)
  throw error
}

function limitWaiting(fd: number): void {
  // struct timeval: seconds, microseconds.
  const time = Buffer.alloc(16)
  time.writeBigUInt64LE(BigInt(SEND_TIMEOUT_S), 0)
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, time, time.length)
}

function openSocket(): number {
  const fd = Number(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))
  if (fd < 0) throw systemError('socket')
  return fd
}

/** @throws FsError */
export function peerOf(fd: number): Peer {
  // struct ucred: pid, uid, gid.
  const credentials = Buffer.alloc(3 * INT)
  const length = Buffer.alloc(INT)
  length.writeUInt32LE(credentials.length)
  if (Number(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length)) !== 0) {
    throw systemError('SO_PEERCRED')
  }
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(INT) }
}

/** `struct msghdr` on 64-bit Linux, with one piece of data. */
class Message {
  readonly header = Buffer.alloc(56)
  readonly #iovec = Buffer.alloc(16)
  readonly #data: Uint8Array

  constructor(data: Uint8Array, control: Uint8Array | undefined) {
    this.#data = data
    // name, namelen, iov, iovlen, control, controllen, flags.
    this.header.writeBigUInt64LE(BigInt(addressOf(this.#iovec)), 16)
    this.header.writeBigUInt64LE(1n, 24)
    if (control !== undefined) {
      this.header.writeBigUInt64LE(BigInt(addressOf(control)), 32)
      this.header.writeBigUInt64LE(BigInt(control.length), 40)
    }
    this.skip(0)
  }

  /** Leaves out the first bytes of the data, and what goes with them. */
  skip(bytes: number): void {
    this.#iovec.writeBigUInt64LE(BigInt(addressOf(this.#data) + bytes), 0)
    this.#iovec.writeBigUInt64LE(BigInt(this.#data.length - bytes), 8)
    if (bytes > 0) this.header.writeBigUInt64LE(0n, 40)
  }

  get controlLength(): number {
    return Number(this.header.readBigUInt64LE(40))
  }
}

/** Sends bytes, at least one, and descriptors with the first of them. Waits for room. @throws FsError EPIPE, … */
export function sendWithDescriptors(fd: number, data: Uint8Array, descriptors: readonly number[]): void {
  const message = new Message(data, descriptors.length === 0 ? undefined : encodeRights(descriptors))
  for (let sent = 0; sent < data.length; message.skip(sent)) {
    const count = Number(sendmsg(fd, message.header, MSG_NOSIGNAL))
    if (count > 0) sent += count
    else if (lastErrno() !== ERRNO.EINTR) throw systemError('send to the server')
  }
}

function encodeRights(descriptors: readonly number[]): Buffer {
  const length = CMSG_DATA_OFFSET + descriptors.length * INT
  const control = Buffer.alloc(Math.ceil(length / 8) * 8)
  control.writeUInt32LE(length, 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  descriptors.forEach((fd, i) => {
    control.writeInt32LE(fd, CMSG_DATA_OFFSET + i * INT)
  })
  return control
}

/** What came at once: nothing at the end of the stream. */
export interface Received {
  readonly data: Uint8Array
  /** The receiver closes them. */
  readonly descriptors: readonly number[]
}

/**
 * Receives bytes and the descriptors that came with them.
 * @param most descriptors; the kernel closes further ones
 * @param waits false: does not wait for data
 * @returns undefined where there is nothing yet
 * @throws FsError ECONNRESET, …
 */
export function receiveWithDescriptors(
  fd: number,
  size: number,
  most: number,
  waits: boolean,
): Received | undefined {
  const data = Buffer.alloc(size)
  const control = Buffer.alloc(CMSG_DATA_OFFSET + Math.ceil((most * INT) / 8) * 8)
  for (;;) {
    const message = new Message(data, control)
    const count = Number(recvmsg(fd, message.header, MSG_CMSG_CLOEXEC | (waits ? 0 : MSG_DONTWAIT)))
    if (count >= 0) {
      return { data: data.subarray(0, count), descriptors: decodeRights(control, message.controlLength) }
    }
    const errno = lastErrno()
    if (errno === ERRNO.EAGAIN) return undefined
    if (errno !== ERRNO.EINTR) throw systemError('receive')
  }
}

function decodeRights(control: Buffer, length: number): readonly number[] {
  if (length < CMSG_DATA_OFFSET) return []
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return []
  const end = Math.min(length, control.readUInt32LE(0))
  const count = Math.floor((end - CMSG_DATA_OFFSET) / INT)
  return Array.from({ length: count }, (_, i) => control.readInt32LE(CMSG_DATA_OFFSET + i * INT))
}
