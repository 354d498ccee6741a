import { readTar } from '../../tar/index.ts'
import { pax, special, withField } from '../library/images/tar-special.ts'
import { tarEnd, tarEntry } from '../library/index.ts'
import type { FuzzTarget } from './driver.ts'

const FILE = { type: 'file', mode: 0o644, uid: 1, mtime: 5, path: 'a/b' } as const
const RECORD = 512
const MAGIC_AT = 257
/** Files with holes may be of any size. */
const PIECES_MAX = 50

/** A sparse file as GNU tar stores it: two pieces in the header, one in the record behind it. */
function oldSparse(): Buffer {
  const number = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`
  const map = [0, 1, 4, 2].map(number).join('')
  const header = withField(tarEntry({ ...FILE, content: 'abc' }), MAGIC_AT, Buffer.from('ustar  \0'))
  const withMap = withField(
    withField(header, 386, map),
    482,
    Buffer.concat([Buffer.of(1), Buffer.from(number(99))]),
  )
  const more = Buffer.alloc(RECORD)
  more.write([90, 0].map(number).join(''), 'latin1')
  return Buffer.concat([withField(withMap, 156, 'S').subarray(0, RECORD), more, withMap.subarray(RECORD)])
}

/** A wrong sum would end nearly every run at the first record. */
function withSums(bytes: Uint8Array): Buffer {
  const archive = Buffer.from(bytes)
  for (let at = 0; at + RECORD <= archive.length; at += RECORD) {
    const record = archive.subarray(at, at + RECORD)
    if (record.toString('latin1', MAGIC_AT, MAGIC_AT + 5) === 'ustar') withField(record, 0, '').copy(record)
  }
  return archive
}

export const TAR_TARGET: FuzzTarget = {
  name: 'tar archive',
  samples: [
    [
      tarEntry({ ...FILE, content: 'x'.repeat(700) }),
      tarEntry({ ...FILE, type: 'directory', path: 'c/' }),
      tarEnd(),
    ],
    [special('L', `${'d/'.repeat(100)}f\0`), special('K', 'target\0'), tarEntry({ ...FILE, type: 'link' })],
    [
      pax('path=p', 'mtime=-1.5', 'size=3', 'SCHILY.xattr.user.a=1', 'LIBARCHIVE.xattr.user.%62=AAE='),
      tarEntry({ ...FILE, content: 'abc' }),
    ],
    [
      pax('GNU.sparse.size=9', 'GNU.sparse.name=real', 'GNU.sparse.map=2,1,5,2'),
      tarEntry({ ...FILE, content: 'abc' }),
    ],
    [
      pax('GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.realsize=9', 'GNU.sparse.name=real'),
      tarEntry({ ...FILE, content: `${'2\n2\n1\n5\n2\n'.padEnd(RECORD, '\0')}abc` }),
    ],
    [oldSparse(), tarEnd()],
  ].map((parts) => Buffer.concat(parts)),
  codes: ['EINVAL', 'EIO', 'EFBIG', 'ENAMETOOLONG'],
  run: async (bytes) => {
    const archive = withSums(bytes)
    const pieces = (async function* () {
      for (let at = 0; at < archive.length; at += 700) yield archive.subarray(at, at + 700)
    })()
    for await (const { content, size } of readTar(pieces)) {
      if (!(size >= 0)) throw new Error(`a size of ${size}`)
      let count = 0
      for await (const _ of content) if (++count > PIECES_MAX) break
    }
  },
}
