/** POSIX ustar (pax(1), "ustar Interchange Format"): as much of it as generated layers need. */
export interface TarMember {
  /** At most 100 bytes. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'whiteout' | 'link' | 'symlink'
  readonly mode: number
  readonly uid: number
  /** Seconds. */
  readonly mtime: number
  readonly content?: string
  /** Of a link, at most 100 bytes. */
  readonly target?: string
}

const RECORD = 512
const TYPE_FLAG = { file: '0', directory: '5', whiteout: '3', link: '1', symlink: '2' } as const
const CHECKSUM_AT = 148

/** Header and content of one member, padded. A whiteout is the character device 0:0. */
export function tarEntry(member: TarMember): Buffer {
  const size = Buffer.byteLength(member.content ?? '')
  const bytes = Buffer.alloc(RECORD + Math.ceil(size / RECORD) * RECORD)
  if (member.path.length > 100) throw new Error(`${member.path}: too long for a ustar header`)
  bytes.write(member.path, 0, 'latin1')
  octal(bytes, 100, 8, member.mode)
  octal(bytes, 108, 8, member.uid)
  octal(bytes, 116, 8, 0)
  octal(bytes, 124, 12, size)
  octal(bytes, 136, 12, member.mtime)
  bytes.write(TYPE_FLAG[member.type], 156, 'latin1')
  bytes.write(member.target ?? '', 157, 'latin1')
  bytes.write('ustar\x0000', 257, 'latin1')
  octal(bytes, 329, 8, 0)
  octal(bytes, 337, 8, 0)
  // The sum counts its own field as spaces.
  bytes.fill(0x20, CHECKSUM_AT, CHECKSUM_AT + 8)
  let sum = 0
  for (let i = 0; i < RECORD; i += 1) sum += bytes[i] ?? 0
  octal(bytes, CHECKSUM_AT, 7, sum)
  bytes.write(member.content ?? '', RECORD)
  return bytes
}

export function tarEnd(): Buffer {
  return Buffer.alloc(2 * RECORD)
}

/** Digits and a NUL. */
function octal(bytes: Buffer, at: number, width: number, value: number): void {
  bytes.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1')
}
