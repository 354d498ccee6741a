import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readCompressorOptions } from '../../squashfs/compressor-options.ts'
import { SquashfsImage } from '../../squashfs/image.ts'
import { summarize } from '../../squashfs/summary.ts'
import { openCodec } from '../../src/codecs/index.ts'
import { FileSource } from '../../src/sys/files/file-source.ts'
import { WindowSource } from '../../src/transforms/window.ts'
import { readRange } from '../squashfs/support/sources.ts'

const TIMEOUT = 60_000
let work = ''
let tree = ''
const descriptors: number[] = []

function sh(file: string, args: readonly string[], input?: Buffer): string {
  return execFileSync(file, args, {
    encoding: 'latin1',
    timeout: TIMEOUT,
    maxBuffer: 64 << 20,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(input === undefined ? {} : { input }),
  })
}

/** Bytes that do not compress, the same at every run. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

function makeTree(root: string): void {
  mkdirSync(join(root, 'deep/er/still'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  mkdirSync(join(root, 'many'))
  for (let i = 0; i < 1500; i++)
    writeFileSync(join(root, 'many', `entry-${i}-${'n'.repeat(i % 60)}`), `content ${i}`)
  writeFileSync(join(root, 'zero'), '')
  writeFileSync(join(root, 'text'), 'squashfs\n'.repeat(100_000))
  writeFileSync(join(root, 'noise'), noise(700_001, 1))
  writeFileSync(join(root, 'exact'), noise(131072, 2))
  writeFileSync(join(root, 'deep/er/still/tail'), noise(131072 + 17, 3))
  const sparse = openSync(join(root, 'sparse'), 'w')
  writeSync(sparse, noise(5000, 4), 0, 5000, 3 << 20)
  ftruncateSync(sparse, 40 << 20)
  closeSync(sparse)
  linkSync(join(root, 'text'), join(root, 'deep/hard link'))
  symlinkSync('../text', join(root, 'deep/soft link'))
  symlinkSync('x'.repeat(4000), join(root, 'long link'))
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe, 0x80])]), 'bytes as name')
  for (const [name, kind, numbers] of [
    ['fifo', 'p', []],
    ['char', 'c', ['5', '1']],
    ['block', 'b', ['259', '70000']],
  ] as const) {
    sh('mknod', [join(root, name), kind, ...numbers])
  }
  sh('chown', ['12345:54321', join(root, 'exact')])
  sh('chmod', ['6755', join(root, 'exact')])
  utimesSync(join(root, 'zero'), 1, 1)
  sh('setfattr', ['-n', 'user.one', '-v', 'first value', join(root, 'text')])
  sh('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(root, 'empty')])
  for (const name of ['noise', 'exact', 'zero']) {
    sh('setfattr', ['-n', 'user.shared', '-v', 'same for several, '.repeat(50), join(root, name)])
  }
}

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'squashfs-reader-'))
  tree = join(work, 'tree')
  mkdirSync(tree)
  makeTree(tree)
})

afterAll(() => {
  for (const fd of descriptors) closeSync(fd)
  rmSync(work, { recursive: true, force: true })
})

function pack(name: string, args: readonly string[]): string {
  const path = join(work, name)
  sh('mksquashfs', [tree, path, '-noappend', '-quiet', '-no-progress', ...args])
  return path
}

function openImage(path: string, offset = 0): { image: SquashfsImage; source: WindowSource } {
  const fd = openSync(path, 'r')
  descriptors.push(fd)
  const source = new WindowSource(new FileSource(fd, path), offset)
  return { image: new SquashfsImage({ source, sourceId: 0, label: path, codec: openCodec }), source }
}

interface Node {
  readonly [key: string]: unknown
}

/** The whole tree of an image, by path. */
function fromImage(path: string, offset = 0): Map<string, Node> {
  const { image, source } = openImage(path, offset)
  const codec = openCodec(image.superblock.compressor)
  const nodes = new Map<string, Node>()
  const visit = (at: string, ref: number): void => {
    const { atimeNsec: _a, mtimeNsec: _m, ctimeNsec: _c, ctime: _ct, atime: _at, ...stat } = image.stat(ref)
    const type = (stat.mode & 0o170000) >> 12
    const xattrs = image
      .listxattr(ref)
      .map((name) => [name, Buffer.from(image.getxattr(ref, name) ?? []).toString('latin1')])
    nodes.set(at, {
      ...stat,
      xattrs: JSON.stringify(xattrs.sort()),
      ...(type === 8
        ? { content: readRange(image, source, codec, ref, 0, stat.size).toString('base64') }
        : {}),
      ...(type === 10 ? { target: Buffer.from(image.readlink(ref)).toString('latin1') } : {}),
    })
    if (type !== 4) return
    const cursor = image.openDirectory(ref, 0)
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      expect(image.lookup(ref, entry.name)).toEqual(entry)
      expect(image.stat(entry.ref).ino).toBe(entry.ino)
      expect((image.stat(entry.ref).mode & 0o170000) >> 12).toBe(entry.type)
      visit(`${at}/${entry.name}`, entry.ref)
    }
  }
  visit('', image.root)
  return nodes
}

/** The same from a mounted directory. */
function fromMount(root: string): Map<string, Node> {
  const nodes = new Map<string, Node>()
  const xattrs = xattrsBelow(root)
  const visit = (at: string): void => {
    const path = Buffer.from(root + at, 'latin1')
    const stat = lstatSync(path)
    const type = (stat.mode & 0o170000) >> 12
    nodes.set(at, {
      ino: stat.ino,
      mode: stat.mode,
      nlink: stat.nlink,
      uid: stat.uid,
      gid: stat.gid,
      rdev: encodeDevice(stat.rdev),
      size: stat.size,
      blocks: stat.blocks,
      blksize: stat.blksize,
      mtime: stat.mtimeMs / 1000,
      xattrs: xattrs.get(root + at) ?? '[]',
      ...(type === 8 ? { content: readFileSync(path).toString('base64') } : {}),
      ...(type === 10 ? { target: readlinkSync(path, { encoding: 'latin1' }) } : {}),
    })
    if (type !== 4) return
    for (const name of readdirSync(path, { encoding: 'latin1' })) visit(`${at}/${name}`)
  }
  visit('')
  return nodes
}

/** From the C library's 64-bit form to the kernel's 32-bit one (`new_encode_dev`). */
function encodeDevice(device: number): number {
  if (device === 0) return 0
  const value = BigInt(device)
  const major = Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn))
  const minor = Number((value & 0xffn) | ((value >> 12n) & ~0xffn))
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

/** All attributes below a directory, by path. */
function xattrsBelow(root: string): Map<string, string> {
  const dump = sh('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', root])
  const found = new Map<string, string>()
  for (const section of dump.split('\n\n')) {
    const path = /^# file: (.*)$/m.exec(section)?.[1]
    if (path === undefined) continue
    const pairs = [...section.matchAll(/^(\S+?)=0x(.*)$/gm)].map(([, name, hex]) => [
      name,
      Buffer.from(hex ?? '', 'hex').toString('latin1'),
    ])
    found.set(path, JSON.stringify(pairs.sort()))
  }
  return found
}

function withMount(path: string, offset: number, action: (root: string) => void): void {
  const root = mkdtempSync(join(work, 'mnt-'))
  sh('mount', ['-t', 'squashfs', '-o', `loop,ro,offset=${offset}`, path, root])
  try {
    action(root)
  } finally {
    sh('umount', [root])
  }
}

/** The kernel shows a page as block size where ours is the image's block: statfs tells the latter. */
function comparable(nodes: Map<string, Node>): [string, Node][] {
  return [...nodes].map(([path, { blksize: _blksize, ...node }]): [string, Node] => [path, node]).sort()
}

const VARIANTS: readonly (readonly [string, readonly string[]])[] = [
  ['gzip', []],
  ['gzip with 4 KiB blocks and all fragments', ['-b', '4096', '-always-use-fragments']],
  ['uncompressed inodes, ids and xattrs', ['-noI', '-noId', '-noX']],
  ['uncompressed data and fragments, no tail ends', ['-noD', '-noF', '-no-fragments']],
  ['1 MiB blocks, options', ['-b', '1M', '-Xcompression-level', '3', '-Xwindow-size', '12']],
  ['not exportable, no duplicates', ['-no-exports', '-no-duplicates', '-no-sparse']],
]

test.each(VARIANTS)('the squashfs reader shows what the kernel shows for mksquashfs, %s', (name, args) => {
  // A file of its own for each: a loop device lingers after umount and would show the old content.
  const path = pack(`${name.replace(/\W+/g, '-')}.sqfs`, args)
  const ours = comparable(fromImage(path))
  expect(ours.length).toBeGreaterThan(1515)
  withMount(path, 0, (root) => {
    const theirs = comparable(fromMount(root))
    expect(ours.map(([at]) => at)).toEqual(theirs.map(([at]) => at))
    for (const [i, [at, node]] of ours.entries()) expect(node, at).toEqual(theirs[i]?.[1])
  })
})

test.each(['lzo', 'xz', 'lz4', 'zstd'])(
  'an image compressed with %s has the same content as with gzip',
  (compressor) => {
    const path = pack(`${compressor}.sqfs`, ['-comp', compressor])
    expect(openImage(path).image.superblock.compressor).toBe(compressor)
    expect(comparable(fromImage(path))).toEqual(comparable(fromImage(pack('as-gzip.sqfs', []))))
  },
)

test('the squashfs reader finds an image at an offset', () => {
  const path = pack('plain.sqfs', [])
  const shifted = join(work, 'shifted')
  writeFileSync(shifted, Buffer.concat([Buffer.alloc(4096, 7), readFileSync(path)]))
  expect(comparable(fromImage(shifted, 4096))).toEqual(comparable(fromImage(path)))
})

test('an image of tar2sqfs has the content of the tree and of the kernel mount', () => {
  const path = join(work, 'ng.sqfs')
  const archive = execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-C', tree, '-cf', '-', '.'], {
    timeout: TIMEOUT,
    maxBuffer: 256 << 20,
  })
  sh('tar2sqfs', ['-q', '-f', '-c', 'gzip', path], archive)
  const ours = comparable(fromImage(path))
  withMount(path, 0, (root) => expect(ours).toEqual(comparable(fromMount(root))))
})

test('an image that mksquashfs has appended to still has its root last', () => {
  const path = pack('appended.sqfs', [])
  const more = join(work, 'more')
  mkdirSync(join(more, 'new/dir'), { recursive: true })
  writeFileSync(join(more, 'new/dir/file'), 'added')
  sh('mksquashfs', [more, path, '-quiet', '-no-progress', '-keep-as-directory'])
  sh('mksquashfs', [more, path, '-quiet', '-no-progress', '-root-becomes', 'old'])
  const ours = comparable(fromImage(path))
  withMount(path, 0, (root) => expect(ours).toEqual(comparable(fromMount(root))))
  expect(ours.some(([at]) => at === '/old/more/new/dir/file')).toBe(true)
})

test('the squashfs reader gives the names and attributes that unsquashfs lists', () => {
  const path = pack('listed.sqfs', [])
  const listed = new Map<string, string>()
  for (const line of sh('unsquashfs', ['-lln', '-d', '', path]).split('\n')) {
    // Permissions, ids, size (major,minor of a device), date, time, path and target.
    const [, mode, ids, size, at] =
      /^([dlcbps-]\S{9}) (\d+\/\d+) +(\d+|\d+, *\d+) \S+ \S+ ?(.*)$/.exec(line) ?? []
    if (mode !== undefined) listed.set((at ?? '').replace(/ -> .*$/, ''), `${mode[0]} ${ids} ${size}`)
  }
  const ours = fromImage(path)
  expect(listed.size).toBe(ours.size)
  for (const [at, node] of ours) {
    const kind = '-pc-d-b---l-s---'[Number(node['mode']) >> 12]
    if (kind === 'c' || kind === 'b') expect(listed.get(at), at).toMatch(new RegExp(`^${kind} `))
    else if (!/[^\x20-\x7e]/.test(at)) {
      const letter = Number(node['mode']) >> 12 === 8 ? '-' : kind
      // Of a directory it lists the listing's size, of fifos nothing.
      const size = letter === 'd' || letter === '-' || letter === 'l' ? node['size'] : 0
      expect(listed.get(at), at).toBe(`${letter} ${node['uid']}/${node['gid']} ${size}`)
    }
  }
})

test('the squashfs reader gives sizes and flags of the summary, and seeks in a sparse file', () => {
  const path = pack('options.sqfs', ['-Xcompression-level', '3', '-Xwindow-size', '12'])
  const { image, source } = openImage(path)
  expect(readCompressorOptions(source, image.superblock)).toEqual({
    compressionLevel: 3,
    windowSize: 12,
    strategies: 0,
  })
  expect(summarize(image)).toMatchObject({
    compressor: 'gzip',
    blockSize: 131072,
    hasXattrs: true,
    exportable: true,
  })
  const sparse = image.resolve('sparse')
  expect(image.seek(sparse, 0, 'data')).toBe(3 << 20)
  expect(image.seek(sparse, 3 << 20, 'hole')).toBe((3 << 20) + 131072)
})
