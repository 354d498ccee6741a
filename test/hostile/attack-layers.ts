import { gzipSync } from 'node:zlib'
import { pax, special, withField } from '../library/images/tar-special.ts'
import { tarEnd, tarEntry } from '../library/index.ts'

/** Layers that want to reach something outside of their tree, or to use up a machine. */

const COMMON = { mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const
const TYPE_AT = 156
const SIZE_AT = 124
const UID_AT = 108

export const file = (path: string, content = 'x'): Buffer =>
  tarEntry({ ...COMMON, type: 'file', path, content })
export const directory = (path: string): Buffer =>
  tarEntry({ ...COMMON, type: 'directory', mode: 0o755, path })
export const hard = (path: string, target: string): Buffer =>
  tarEntry({ ...COMMON, type: 'link', path, target })
export const soft = (path: string, target: string): Buffer => withField(hard(path, target), TYPE_AT, '2')
const typed = (type: string, path: string): Buffer => withField(file(path, ''), TYPE_AT, type)
const layer = (...members: readonly Buffer[]): Buffer => Buffer.concat([...members, tarEnd()])
const named = (path: string): Buffer => Buffer.concat([pax(`path=${path}`), file('@')])
const digits = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`
const deep = (levels: number): string => Array.from({ length: levels }, () => 'd').join('/')

/** Part of the one line that refuses an attack, or what is shown where it does no harm. */
export type Outcome = RegExp | ((outside: string) => readonly string[])

export interface Attack {
  readonly name: string
  /** Archives, bottom first. @param outside the absolute path of a directory that nobody may change or read */
  readonly layers: (outside: string) => readonly Buffer[]
  /** Of a mount, and of what reads the same tree: what refuses it, or the names that are shown: a slash behind a
   * directory, an @ behind a symbolic link. */
  readonly mount: Outcome
  /** Where layers are laid one over the other, and paths through links mean what is there so far; as a mount if absent. */
  readonly laid?: Outcome
  /** Where the files are made anew; as `laid` if absent. */
  readonly written?: Outcome
  /** What the tree is compressed with; gzip if absent. */
  readonly compress?: (archive: Buffer) => Buffer
}

const inside = (outside: string): string => outside.slice(1)

/** A path and all directories above it. */
function withParents(path: string): string[] {
  const names = path.split('/')
  return names.map((_, i) => `${names.slice(0, i + 1).join('/')}${i + 1 < names.length ? '/' : ''}`)
}

/** Sizes that take seconds. */
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'

export const ATTACKS: readonly Attack[] = [
  ...['.wh.', '.wh..', '.wh...', 'd/.wh.', 'd/.wh...'].map(
    (path): Attack => ({
      name: `a whiteout ${path}`,
      layers: () => [layer(file('keep')), layer(file('other'), file(path, ''))],
      mount: /a whiteout of no name/,
    }),
  ),
  {
    name: 'something below a whiteout',
    layers: () => [layer(file('.wh.d/f'))],
    mount: /something lies below a whiteout/,
  },
  {
    name: 'a whiteout of another type, and one whose name is that of a link out',
    layers: (outside) => [
      layer(file('a'), file('b'), soft('out', outside)),
      layer(hard('.wh.a', 'nowhere'), directory('.wh.b/'), file('.wh.out', '')),
    ],
    mount: () => [],
  },
  {
    name: 'an absolute name',
    layers: (outside) => [layer(named(`${outside}/file`))],
    mount: (outside) => withParents(`${inside(outside)}/file`),
  },
  ...['../x', 'a/../../x', 'a/..', '..'].map(
    (path): Attack => ({
      name: `a name ${path}`,
      layers: () => [layer(file(path))],
      mount: /leads upwards/,
    }),
  ),
  { name: 'a name with a NUL', layers: () => [layer(named('a\0b'))], mount: /NUL/ },
  { name: 'a name of the root that is a file', layers: () => [layer(file('.'))], mount: /root/ },
  { name: 'a root that is a symbolic link', layers: (out) => [layer(soft('.', out))], mount: /root/ },
  { name: 'a root that is a hard link', layers: () => [layer(file('f'), hard('.', 'f'))], mount: /root/ },
  { name: 'a root that is a device', layers: () => [layer(typed('3', '/'))], mount: /root/ },
  { name: 'a root that is a fifo', layers: () => [layer(typed('6', './'))], mount: /root/ },
  {
    name: 'a hard link that leads upwards',
    layers: () => [layer(hard('x', '../outside/secret'))],
    mount: /leads upwards/,
  },
  {
    name: 'a hard link to an absolute path',
    layers: (outside) => [layer(hard('x', `${outside}/secret`))],
    mount: /hard link "x"/,
  },
  {
    name: 'a hard link through a symbolic link out',
    layers: (outside) => [layer(soft('out', outside), hard('x', 'out/secret'))],
    mount: /hard link "x"/,
  },
  {
    name: 'a hard link to a symbolic link out, which is written to',
    layers: (outside) => [layer(soft('out', `${outside}/secret`), hard('x', 'out'), file('x', 'written'))],
    mount: () => ['out@', 'x'],
  },
  {
    name: 'hard links in a circle',
    layers: () => [layer(hard('a', 'b'), hard('b', 'a'))],
    mount: /hard link "[ab]"/,
  },
  { name: 'a hard link to itself', layers: () => [layer(hard('a', 'a'))], mount: /hard link "a"/ },
  {
    name: 'a hard link to a directory',
    layers: () => [layer(directory('d/'), hard('a', 'd'))],
    mount: /hard link/,
  },
  {
    name: 'a hard link in place of the directory of its file',
    layers: () => [layer(file('a/b'), hard('a', 'a/b'))],
    mount: () => ['a'],
  },
  {
    name: 'a symbolic link out, and a file below it',
    layers: (outside) => [layer(soft('out', outside), file('out/secret', 'written'))],
    mount: /"out" is no directory in this layer/,
    laid: (outside) => ['out@', ...withParents(`${inside(outside)}/secret`)],
  },
  {
    name: 'a symbolic link upwards, and a file below it',
    layers: () => [layer(soft('out', '../../../..'), file('out/etc', 'written'))],
    mount: /"out" is no directory in this layer/,
    laid: () => ['etc', 'out@'],
  },
  {
    name: 'symbolic links in a circle, and a file below them',
    layers: () => [layer(soft('a', 'b'), soft('b', 'a'), file('a/f'))],
    mount: /"a" is no directory in this layer/,
    laid: /more than 40 symbolic links/,
  },
  {
    name: 'a symbolic link out in a layer below, whose target a layer above would empty',
    layers: (outside) => [layer(soft('out', outside)), layer(file('out/.wh..wh..opq', ''))],
    mount: () => ['out/'],
  },
  {
    name: 'a symbolic link out in a layer below, and a directory in its place',
    layers: (outside) => [layer(soft('out', outside)), layer(directory('out/'), file('out/secret'))],
    mount: () => ['out/', 'out/secret'],
  },
  {
    name: 'a symbolic link out in a layer below, and a deletion below it',
    layers: (outside) => [layer(soft('out', outside), file('f')), layer(file('out/.wh.secret', ''))],
    mount: () => ['f', 'out@'],
  },
  {
    name: 'a file, a directory and a link out of one name, and a file below them',
    layers: (outside) => [layer(file('a'), directory('a/'), soft('a', outside), file('a/secret'))],
    mount: /"a" is no directory in this layer/,
    laid: (outside) => ['a@', ...withParents(`${inside(outside)}/secret`)],
  },
  {
    name: '10^6 records in one extended header',
    layers: () => [layer(special('x', '9 a=bcd\n'.repeat(1_000_000)), file('f'))],
    mount: /8000000 bytes, at most/,
  },
  {
    name: 'as many records as an extended header may have',
    layers: () => [layer(special('x', '9 a=bcde\n'.repeat(100_000)), file('f'))],
    mount: () => ['f'],
  },
  {
    name: 'a map of as many pieces as an extended header may have',
    layers: () => [
      layer(
        pax(
          'GNU.sparse.size=999999999',
          'GNU.sparse.name=f',
          `GNU.sparse.map=${Array.from({ length: IS_LONG ? 50_000 : 3000 }, (_, i) => `${i * 2},0`).join(',')}`,
        ),
        file('g', ''),
      ),
    ],
    mount: () => ['f'],
  },
  {
    name: 'a file of 2^50 bytes that the archive does not have',
    layers: () => [layer(pax(`size=${2 ** 50}`), file('f'))],
    mount: /ends at byte|with more than/,
  },
  {
    name: 'a size that is negative',
    layers: () => [layer(withField(file('f', ''), SIZE_AT, Buffer.from(`ff${'ff'.repeat(11)}`, 'hex')))],
    mount: /size of -1 bytes/,
  },
  {
    name: 'a file with holes that is longer than a file can be',
    layers: () => [
      layer(pax(`GNU.sparse.size=${2 ** 53 - 1}`, 'GNU.sparse.name=f', 'GNU.sparse.map='), file('g', '')),
    ],
    mount: () => ['f'],
    written: /"f".*(EFBIG|with more than)|EFBIG/,
  },
  {
    name: 'a path of 4096 bytes, and more',
    layers: () => [layer(named(`${deep(2048)}/x`))],
    mount: /a path of 4097 bytes/,
  },
  {
    name: 'a tree of many levels, and a file in its place',
    layers: () => [layer(named(deep(IS_LONG ? 2047 : 300))), layer(file('d', 'flat'))],
    mount: () => ['d'],
  },
  {
    name: 'a name of 256 bytes',
    layers: () => [layer(named('n'.repeat(256)))],
    mount: /name "n+…" of 256 bytes/,
  },
  {
    name: 'a symbolic link of more bytes than one can have',
    layers: () => [layer(Buffer.concat([pax(`linkpath=${'l'.repeat(5000)}`), soft('s', '@')]))],
    mount: /"s"/,
  },
  { name: 'a symbolic link to nothing', layers: () => [layer(soft('s', ''))], mount: /"s"/ },
  {
    name: 'a symbolic link with a NUL',
    layers: () => [layer(Buffer.concat([pax('linkpath=a\0b'), soft('s', '@')]))],
    mount: /"s"/,
  },
  ...['-1', '4294967295', '4294967296', '1e3', '9007199254740993'].map(
    (uid): Attack => ({
      name: `the owner ${uid}`,
      layers: () => [layer(Buffer.concat([pax(`uid=${uid}`), file('f')]))],
      mount: /owner|uid/,
    }),
  ),
  {
    name: 'an owner in binary that is no number of an owner',
    layers: () => [layer(withField(file('f'), UID_AT, Buffer.from('8000000fffffffff', 'hex')))],
    mount: /owner/,
  },
  {
    name: 'a time that no file can have',
    layers: () => [layer(Buffer.concat([pax('mtime=99999999999999999999'), file('f')]))],
    mount: /mtime/,
  },
  {
    name: 'an attribute of a name that is too long',
    layers: () => [layer(Buffer.concat([pax(`SCHILY.xattr.user.${'a'.repeat(300)}=1`), file('f')]))],
    mount: /"f" has an extended attribute whose name has 305 bytes/,
    laid: () => ['f'],
  },
  ...['V', 'M', 'N', 'D', 'A', '\x01', '9'].map(
    (type): Attack => ({
      name: `an entry of type ${JSON.stringify(type)}`,
      layers: () => [layer(typed(type, 'f'))],
      mount: /has type/,
    }),
  ),
  {
    name: 'a wrong checksum',
    layers: () => {
      const header = file('f')
      header[0] = 0x67
      return [layer(header)]
    },
    mount: /its checksum is wrong/,
  },
  {
    name: 'devices, set-id bits and a whiteout of overlayfs',
    layers: () => [
      layer(
        withField(typed('3', 'null'), 329, '0000001\0' + '0000003\0'),
        typed('4', 'disk'),
        tarEntry({ ...COMMON, type: 'file', path: 'suid', mode: 0o6755 }),
        Buffer.concat([pax('SCHILY.xattr.trusted.overlay.opaque=y'), directory('d/')]),
      ),
    ],
    mount: () => ['d/', 'disk', 'null', 'suid'],
  },
  {
    name: 'a deletion in a directory that no layer has',
    layers: () => [layer(file('f')), layer(file('a/b/.wh.c', ''), file('d/.wh..wh..opq', ''))],
    mount: () => ['f'],
  },
  {
    name: 'an archive without its end, and bytes behind the end of one',
    layers: () => [file('f'), Buffer.concat([layer(file('g')), Buffer.from('junk'.repeat(999))])],
    mount: () => ['f', 'g'],
  },
  {
    name: 'zeros that are a thousand times as much as the blob',
    layers: () => [layer(file('f', '\0'.repeat(IS_LONG ? 64 << 20 : 4 << 20)))],
    mount: () => ['f'],
  },
  {
    name: 'members of gzip that hold nothing',
    layers: () => [layer(file('f'))],
    compress: (archive) =>
      Buffer.concat([...Array.from({ length: IS_LONG ? 100_000 : 1000 }, () => EMPTY), gzipSync(archive)]),
    mount: () => ['f'],
  },
  {
    name: 'many pieces of an old map, and no end of it',
    layers: () => {
      const header = withField(withField(file('f', ''), TYPE_AT, 'S'), 257, Buffer.from('ustar  \0'))
      const first = withField(header, 386, digits(0) + digits(0))
      const endless = withField(first, 482, Buffer.of(1)).subarray(0, 512)
      const more = Buffer.alloc(512)
      more.write(digits(1) + digits(0), 'latin1')
      more[504] = 1
      return [Buffer.concat([endless, ...Array.from({ length: 2000 }, () => more)])]
    },
    mount: /the archive ends|map of a sparse file/,
  },
]

const EMPTY = gzipSync(Buffer.alloc(0))
