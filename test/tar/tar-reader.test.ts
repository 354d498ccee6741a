import { describe, expect, test } from 'vitest'
import { readTar, type TarEntry, type TarOddities } from '../../tar/index.ts'
import { pax, special, withField } from '../library/images/tar-special.ts'
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

/** With a size of minus five bytes. */
function negative(header: Buffer): Buffer {
  return withField(header, 124, Buffer.concat([Buffer.alloc(11, 0xff), Buffer.of(0xfb)]))
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

  test('counts what is odd at the end of an archive', async () => {
    const entry = tarEntry({ ...FILE, path: 'a' })
    const oddities = async (...parts: readonly Buffer[]): Promise<TarOddities> => {
      const odd = { missingEnds: 0, bytesBehindEnd: 0 }
      for await (const { path } of readTar(inPieces(Buffer.concat(parts), 700), odd)) expect(path).toBe('a')
      return odd
    }
    expect(await oddities(entry)).toEqual({ missingEnds: 1, bytesBehindEnd: 0 })
    expect(await oddities(entry, Buffer.alloc(512))).toEqual({ missingEnds: 0, bytesBehindEnd: 0 })
    expect(await oddities(entry, tarEnd(), Buffer.alloc(20_000))).toEqual({
      missingEnds: 0,
      bytesBehindEnd: 0,
    })
    expect(
      await oddities(entry, tarEnd(), Buffer.alloc(999), Buffer.alloc(2000, 'x'), Buffer.alloc(9)),
    ).toEqual({
      missingEnds: 0,
      bytesBehindEnd: 2009,
    })
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

  test('passes over what stands in the fields of device numbers of other files', async () => {
    const entry = withField(
      withField(tarEntry({ ...FILE, path: 'x' }), 329, 'junk'),
      337,
      Buffer.alloc(8, 0xff),
    )
    expect(await read(entry)).toMatchObject([{ path: 'x', rdev: 0 }])
  })

  test('counts a record for all entries once, however often it comes again', async () => {
    const global = withField(pax(`comment=${'x'.repeat(60_000)}`), 156, 'g')
    expect(await read(Buffer.concat([global, global, tarEntry({ ...FILE, path: 'x' })]))).toHaveLength(1)
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
    [
      'records of more than 1 MiB in several headers',
      Buffer.concat([pax(`a=${'x'.repeat(600_000)}`), pax(`b=${'x'.repeat(600_000)}`)]),
      /more than 1048576 bytes in all/,
    ],
    [
      'records for all entries of more than 64 KiB in several headers',
      Buffer.concat(['a', 'b'].map((key) => withField(pax(`${key}=${'x'.repeat(40_000)}`), 156, 'g'))),
      /more than 65536 bytes in all/,
    ],
    ['an extended header of fewer than no bytes', negative(special('x', '')), /header at byte \d+: -5 bytes/],
    [
      'a device number that no kernel has',
      withField(withField(tarEntry({ ...FILE, path: 'x' }), 156, '3'), 329, '0010000'),
      /device 4096:0, at most 4095:1048575/,
    ],
    [
      'a negative device number',
      withField(withField(tarEntry({ ...FILE, path: 'x' }), 156, '4'), 337, Buffer.alloc(8, 0xff)),
      /device 0:-1/,
    ],
    [
      'an attribute with a NUL in its name',
      Buffer.concat([pax('SCHILY.xattr.user.a\0b=c'), tarEntry({ ...FILE, path: 'x' })]),
      /"user.a\\u0000b" has a NUL/,
    ],
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
    [
      'a size that is no whole number',
      Buffer.concat([pax('size=1.5'), tarEntry({ ...FILE, path: 'x', content: 'y' })]),
      /no number of bytes/,
    ],
    [
      'a map with parts of bytes',
      Buffer.concat([
        pax('GNU.sparse.size=9', 'GNU.sparse.map=0.5,0.5'),
        tarEntry({ ...FILE, path: 'x', content: 'yyyy' }),
      ]),
      /piece of 0.5 bytes/,
    ],
    [
      'a long name without its entry',
      Buffer.concat([special('L', 'name\0'), tarEnd()]),
      /between an extended/,
    ],
    ['records without their entry', pax('uid=7'), /between an extended/],
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
