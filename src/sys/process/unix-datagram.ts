import { closeSync } from 'node:fs'
import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { AF_UNIX, SOCK_CLOEXEC, socket } from '../ffi/sockets.ts'

/** Datagrams to a unix socket, for sd_notify(3) and syslog(3). Node cannot send them. */

const SOCK_DGRAM = 2
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000

/** Size of `sun_path` in `struct sockaddr_un` (unix(7)), bytes. */
const PATH_MAX = 108

const sendto = libcFunction(
  'int64_t sendto(int fd, const uint8_t *data, size_t length, int flags, const uint8_t *address, uint32_t size)',
)

/**
 * Sends one datagram without waiting for its reader.
 * @param address a path, or `@` and an abstract name
 * @throws FsError with the errno of socket(2) or sendto(2); ECONNREFUSED without a listener is one of them
 */
export function sendDatagram(address: string, text: string): void {
  const target = encodeUnixAddress(address)
  const fd = Number(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))
  if (fd < 0) throw systemError('socket')
  try {
    const data = Buffer.from(text)
    const sent = Number(sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, target, target.length))
    if (sent < 0) throw systemError(`send to ${address}`)
  } finally {
    closeSync(fd)
  }
}

/**
 * `struct sockaddr_un`: family, then the path. An abstract name begins with a NUL instead of `@`. Only the size of the
 * structure gives its length, so it has no NUL at its end.
 */
export function encodeUnixAddress(address: string): Buffer {
  const path = Buffer.from(address)
  const isAbstract = address.startsWith('@')
  if (path.length === 0 || path.length + (isAbstract ? 0 : 1) > PATH_MAX) {
    throw new RangeError(`socket address of ${path.length} bytes: 1 to ${PATH_MAX - 1} are possible`)
  }
  const bytes = Buffer.alloc(2 + path.length + (isAbstract ? 0 : 1))
  bytes.writeUInt16LE(AF_UNIX, 0)
  path.copy(bytes, 2)
  if (isAbstract) bytes[2] = 0
  return bytes
}
