import { describe, expect, test } from 'vitest'
import { readTar, type TarEntry } from '../../tar/index.ts'
import { tarEnd, tarEntry } from '../library/index.ts'

const FILE = { type: 'file', mode: 0o644, uid: 1, mtime: 5 } as const

/** Each byte by itself, or all at once. */
async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(bytes: Buffer, size = 1000): Promise<(TarEntry & { readonly bytes: string })[]> {
  const entries: (TarEntry & { readonly bytes: string })[] = []
  for await (const entry of readTar(inPieces(bytes, size))) {
    const parts: Uint8Array[] = []
    for await (const part of entry.content) parts.push(Uint8Array.from(part))
    entries.push({ ...entry, bytes: Buffer.concat(parts).toString('latin1') })
  }
  return entries
}

/** Changes a field, and the checksum with it. */
function withField(
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
function special(type: string, content: string | Buffer): Buffer {
  const body = Buffer.from(content)
  const header = tarEntry({ ...FILE, path: '@', content: 'x'.repeat(body.length) })
  body.copy(header, 512)
  return withField(header, 156, type)
}

function pax(...records: readonly string[]): Buffer {
  const lines = records.map((record) => {
    const length = Buffer.byteLength(record, 'latin1') + 2
    const digits = String(length + String(length + 2).length).length
    return `${length + digits} ${record}\n`
  })
  return special('x', Buffer.from(lines.join(''), 'latin1'))
}

describe('readTar', () => {
  test('gives the same entries whatever the pieces of the stream are', async () => {
    const bytes = Buffer.concat([
      tarEntry({ ...FILE, path: './a/b', content: 'x'.repeat(700) }),
      tarEntry({ ...FILE, path: '/c/', type: 'directory' }),
      tarEnd(),
      Buffer.from('junk behind the end'),
    ])
    const whole = await read(bytes, bytes.length)
    expect(whole.map(({ path, size, mode }) => [path, size, mode])).toEqual([
      ['a/b', 700, 0o100644],
      ['c', 0, 0o040644],
    ])
    for (const size of [1, 7, 512, 513]) {
      expect((await read(bytes, size)).map((entry) => entry.bytes)).toEqual(whole.map((entry) => entry.bytes))
    }
  })

  test('skips content that nobody reads', async () => {
    const bytes = Buffer.concat([
      tarEntry({ ...FILE, path: 'a', content: 'x'.repeat(5000) }),
      tarEntry({ ...FILE, path: 'b' }),
    ])
    const paths: string[] = []
    for await (const { path } of readTar(inPieces(bytes, 300))) paths.push(path)
    expect(paths).toEqual(['a', 'b'])
  })

  test('takes a checksum of signed bytes, numbers in binary, and times before 1970', async () => {
    const entry = tarEntry({ ...FILE, path: 'n\xff' })
    const large = Buffer.from('8000000000000000ffffffff', 'hex')
    const before1970 = Buffer.from('fffffffffffffffffffffff6', 'hex')
    const signed = withField(withField(entry, 108, large.subarray(4), 'signed'), 136, before1970, 'signed')
    const uid = withField(signed, 108, Buffer.from('80000000ffffffff', 'hex'), 'signed')
    expect(await read(uid)).toMatchObject([{ path: 'n\xff', uid: 0xffff_ffff, mtime: -10 }])
  })

  test('joins the prefix of ustar, and takes a name with a slash at its end for a directory', async () => {
    const entry = withField(tarEntry({ ...FILE, path: 'name/' }), 345, 'some/prefix')
    expect(await read(entry)).toMatchObject([{ path: 'some/prefix/name', mode: 0o040644 }])
  })

  test('takes long names of GNU tar, which stand before the entry', async () => {
    const long = 'd/'.repeat(100)
    const link = withField(tarEntry({ ...FILE, path: 'short' }), 156, '2')
    const entries = await read(Buffer.concat([special('L', `${long}f\0`), special('K', `${long}t\0`), link]))
    expect(entries).toMatchObject([{ path: `${long}f`, target: Buffer.from(`${long}t`) }])
  })

  test('takes records of PAX before those of the header, and those of the entry before global ones', async () => {
    const global = withField(pax('uid=77', 'gid=88'), 156, 'g')
    const own = pax(
      'path=p\xfe',
      'uid=99',
      'mtime=-1.5',
      'SCHILY.xattr.user.a=1\n\0=2',
      'LIBARCHIVE.xattr.user.%62=AAE=',
    )
    const [first, second] = await read(
      Buffer.concat([global, own, tarEntry({ ...FILE, path: 'x' }), tarEntry({ ...FILE, path: 'y' })]),
    )
    expect(first).toMatchObject({ path: 'p\xfe', uid: 99, gid: 88, mtime: -1.5 })
    expect(
      Object.fromEntries(first!.xattrs.map(([name, value]) => [name, Buffer.from(value).toString('latin1')])),
    ).toEqual({
      'user.a': '1\n\0=2',
      'user.b': '\0\x01',
    })
    expect(second).toMatchObject({ path: 'y', uid: 77, gid: 88, mtime: 5, xattrs: [] })
  })

  test.each([
    [
      '0.0',
      [
        'GNU.sparse.size=9',
        'GNU.sparse.offset=2',
        'GNU.sparse.numbytes=1',
        'GNU.sparse.offset=5',
        'GNU.sparse.numbytes=2',
      ],
      'abc',
    ],
    ['0.1', ['GNU.sparse.size=9', 'GNU.sparse.name=real', 'GNU.sparse.map=2,1,5,2'], 'abc'],
    [
      '1.0',
      ['GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.realsize=9', 'GNU.sparse.name=real'],
      `${'2\n2\n1\n5\n2\n'.padEnd(512, '\0')}abc`,
    ],
  ])('fills the holes of a sparse file in form %s', async (_, records, content) => {
    const [entry] = await read(Buffer.concat([pax(...records), tarEntry({ ...FILE, path: 'x', content })]))
    expect(entry).toMatchObject({ size: 9, bytes: '\0\0a\0\0bc\0\0' })
  })

  test.each([
    ['a path upwards', tarEntry({ ...FILE, path: 'a/../../x' }), /leads upwards/],
    [
      'a hard link upwards',
      withField(withField(tarEntry({ ...FILE, path: 'x' }), 156, '1'), 157, '../x'),
      /leads upwards/,
    ],
    [
      'a name of 300 bytes',
      Buffer.concat([pax(`path=${'n'.repeat(300)}`), tarEntry({ ...FILE, path: 'x' })]),
      /300 bytes/,
    ],
    [
      'letters for a number',
      withField(tarEntry({ ...FILE, path: 'x' }), 124, 'zzz'),
      /"zzz[^"]*" is no number/,
    ],
    ['an extended header of 2 MiB', withField(special('x', ''), 124, '00010000000'), /at most 1048576/],
    ['a record that is none', special('x', 'nonsense'), /no record/],
    [
      'a map behind the file',
      Buffer.concat([
        pax('GNU.sparse.size=3', 'GNU.sparse.map=2,9'),
        tarEntry({ ...FILE, path: 'x', content: 'y'.repeat(9) }),
      ]),
      /behind the file/,
    ],
    [
      'a map that goes back',
      Buffer.concat([
        pax('GNU.sparse.size=99', 'GNU.sparse.map=5,2,4,2'),
        tarEntry({ ...FILE, path: 'x', content: 'abcd' }),
      ]),
      /after byte 7/,
    ],
    [
      'a map of more than is stored',
      Buffer.concat([
        pax('GNU.sparse.size=9999', 'GNU.sparse.map=0,9000'),
        tarEntry({ ...FILE, path: 'x', content: 'abcd' }),
        tarEnd(),
      ]),
      /more bytes than are stored/,
    ],
    ['an unknown type', withField(tarEntry({ ...FILE, path: 'x' }), 156, 'M'), /type "M"/],
    [
      'a content that is cut off',
      tarEntry({ ...FILE, path: 'x', content: 'y'.repeat(900) }).subarray(0, 900),
      /too early/,
    ],
  ])('refuses %s', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message)
  })
})
