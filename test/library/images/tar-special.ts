import { tarEntry } from './tar-entry.ts'

/** Members of archives that only some writers make. */

const FILE = { type: 'file', mode: 0o644, uid: 1, mtime: 5 } as const

/** Changes a field, and the checksum with it. */
export function withField(
  header: Buffer,
  at: number,
  value: Buffer | string,
  sign: 'signed' | 'unsigned' = 'unsigned',
): Buffer {
  const changed = Buffer.from(header)
  if (typeof value === 'string') changed.write(value, at, 'latin1')
  else value.copy(changed, at)
  changed.fill(0x20, 148, 156)
  const sum = changed
    .subarray(0, 512)
    .reduce((all, byte) => all + (sign === 'signed' ? (byte << 24) >> 24 : byte), 0)
  changed.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return changed
}

/** A header of another type with content, such as `x` with records. */
export function special(type: string, content: string | Buffer): Buffer {
  const body = Buffer.from(content)
  const header = tarEntry({ ...FILE, path: '@', content: 'x'.repeat(body.length) })
  body.copy(header, 512)
  return withField(header, 156, type)
}

export function pax(...records: readonly string[]): Buffer {
  const lines = records.map((record) => {
    const length = Buffer.byteLength(record, 'latin1') + 2
    const digits = String(length + String(length + 2).length).length
    return `${length + digits} ${record}\n`
  })
  return special('x', Buffer.from(lines.join(''), 'latin1'))
}
