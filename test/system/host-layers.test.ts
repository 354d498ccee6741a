import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HostDirectoryLayer } from '../../overlay/host/host-directory.ts'
import { MergedTree } from '../../overlay/merge/merged-tree.ts'
import {
  direntType,
  isDirectory,
  isRegular,
  isSymlink,
  type NodeId,
  ROOT_NODE_ID,
  S_IFCHR,
  S_IFIFO,
} from '../../src/base/index.ts'
import { decodeDevice, makeNode, readXattrs, setXattr } from '../library/programs/native.ts'
import { needs, titled } from '../library/programs/tools.ts'
import { Random } from '../library/trees/random.ts'
import { listAll } from '../overlay/support/list.ts'

/**
 * The merge of host directories against the kernel's overlayfs over the same directories. Marks of OCI (`.wh.`) are
 * left out: the kernel does not know them.
 */
const NAMES = ['a', 'b', 'c', 'd', 'e', '\xfe']

type Space = 'user' | 'trusted'

function fillDirectory(path: string, random: Random, space: Space, level: number): void {
  // The kernel does not look at the attributes of a layer's root (docs/adr/0004-merge.md).
  const opacity = level > 0 && random.chance(0.35) ? random.pick(['y', 'y', 'x', 'x', 'yy', 'n']) : ''
  const files: string[] = []
  for (const name of NAMES) {
    if (!random.chance(0.6)) continue
    const child = `${path}/${name}`
    const bytes = bytesOf(child)
    const roll = random.int(0, 99)
    if (roll < 45 && level < 4) {
      mkdirSync(bytes)
      fillDirectory(child, random, space, level + 1)
      chmodSync(bytes, random.pick([0o700, 0o755, 0o1777, 0o2750]))
    } else if (roll < 60) makeNode(bytes, S_IFCHR, 0, 0)
    else if (roll < 70 && opacity === 'x') {
      writeFileSync(bytes, random.chance(0.2) ? 'full' : '')
      setXattr(bytes, `${space}.overlay.whiteout`, Buffer.from(random.pick(['', 'y'])))
    } else if (roll < 78) symlinkSync(`to-${random.int(0, 9)}`, bytes)
    else if (roll < 82) makeNode(bytes, S_IFIFO | 0o600, 0, 0)
    else if (roll < 85) makeNode(bytes, S_IFCHR | 0o600, random.int(1, 255), random.int(0, 70000))
    else if (roll < 90 && files.length > 0) linkSync(bytesOf(random.pick(files)), bytes)
    else {
      writeFileSync(bytes, random.text(random.int(0, 5000)))
      chmodSync(bytes, random.pick([0o644, 0o4755, 0o600]))
      if (random.chance(0.4)) setXattr(bytes, 'user.note', random.bytes(random.int(0, 30)))
      if (random.chance(0.3)) setXattr(bytes, `${space}.overlay.origin`, Buffer.from('hidden'))
      if (random.chance(0.3)) setXattr(bytes, `${space}.overlay.overlay.nested`, Buffer.from('shown'))
      files.push(child)
    }
  }
  if (opacity !== '') setXattr(bytesOf(path), `${space}.overlay.opaque`, Buffer.from(opacity))
  if (random.chance(0.3)) setXattr(bytesOf(path), 'user.dir', random.bytes(5))
}

const bytesOf = (path: string) => Buffer.from(path, 'latin1')

interface Seen {
  readonly mode: number
  readonly nlink: number
  readonly size: number
  readonly owner: string
  readonly device: string
  readonly mtime: string
  readonly content: string
  readonly xattrs: Readonly<Record<string, string>>
}

function seenByKernel(path: string, out = new Map<string, Seen>(), shown = '/'): Map<string, Seen> {
  const stats = lstatSync(bytesOf(path), { bigint: true })
  const mode = Number(stats.mode)
  const special = (mode & 0o170000) === S_IFCHR
  out.set(shown, {
    mode,
    nlink: Number(stats.nlink),
    size: isDirectory(mode) ? 0 : Number(stats.size),
    owner: `${stats.uid}:${stats.gid}`,
    device: special ? decodeDevice(stats.rdev) : '',
    mtime: String(stats.mtimeNs),
    content: isRegular(mode)
      ? readFileSync(bytesOf(path), 'latin1')
      : isSymlink(mode)
        ? readlinkSync(bytesOf(path), 'latin1')
        : '',
    xattrs: readXattrs(bytesOf(path)),
  })
  if (!isDirectory(mode)) return out
  for (const name of readdirSync(bytesOf(path), 'buffer').map((bytes) => bytes.toString('latin1'))) {
    const child = `${path}/${name}`
    // In a directory of one layer the kernel lists whiteouts by name, though looking them up gives ENOENT.
    if (lstatSync(bytesOf(child), { throwIfNoEntry: false }) === undefined) continue
    seenByKernel(child, out, `${shown}${name}/`)
  }
  return out
}

function seenByUs(
  tree: MergedTree,
  id: NodeId,
  out = new Map<string, Seen>(),
  shown = '/',
): Map<string, Seen> {
  const stat = tree.getattr(id)
  const special = (stat.mode & 0o170000) === S_IFCHR
  // linux/kdev_t.h, new_decode_dev
  const minor = (stat.rdev & 0xff) | ((stat.rdev >>> 12) & 0xfff00)
  let content = ''
  if (isRegular(stat.mode)) content = contentOf(tree, id, stat.size)
  if (isSymlink(stat.mode)) content = Buffer.from(tree.readlink(id)).toString('latin1')
  const xattrs = [...tree.listxattr(id)].sort().map((name) => {
    return [name, Buffer.from(tree.getxattr(id, name) ?? []).toString('hex')]
  })
  out.set(shown, {
    mode: stat.mode,
    nlink: stat.nlink,
    size: isDirectory(stat.mode) ? 0 : stat.size,
    owner: `${stat.uid}:${stat.gid}`,
    device: special ? `${(stat.rdev >>> 8) & 0xfff}:${minor}` : '',
    mtime: String(BigInt(stat.mtime) * 1_000_000_000n + BigInt(stat.mtimeNsec)),
    content,
    xattrs: Object.fromEntries(xattrs),
  })
  if (!isDirectory(stat.mode)) return out
  for (const { name, type } of listAll(tree, id).slice(2)) {
    const entry = tree.lookup(id, name)
    expect(entry, `${shown}${name} is listed, so it must be there`).toBeDefined()
    expect(type).toBe(direntType(entry!.stat.mode))
    seenByUs(tree, entry!.nodeId, out, `${shown}${name}/`)
    tree.forget(entry!.nodeId, 1)
  }
  return out
}

function contentOf(tree: MergedTree, id: NodeId, size: number): string {
  const pieces: Buffer[] = []
  tree.read(id, 0, size + 10, {
    hole: (length) => pieces.push(Buffer.alloc(length)),
    block: () => expect.unreachable(),
    file: (fd, position, length) => {
      const piece = Buffer.alloc(length)
      pieces.push(piece.subarray(0, readSync(fd, piece, 0, length, position)))
    },
  })
  return Buffer.concat(pieces).toString('latin1')
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

const need = needs('root', 'kernel-overlayfs', 'mount', 'umount')

test.skipIf(!need.ok)(titled('repeated layers show what copies of them show', need), () => {
  for (let seed = 1; seed <= 4; seed++) {
    const random = new Random(seed * 77)
    const folder = mkdtempSync(join(tmpdir(), 'atomfs-layers-'))
    const target = join(folder, 'mnt')
    const paths = Array.from({ length: random.int(1, 3) }, (_, i) => join(folder, `layer${i}`))
    const layers: HostDirectoryLayer[] = []
    let mounted = false
    try {
      mkdirSync(target)
      for (const path of paths) {
        mkdirSync(path)
        fillDirectory(path, random, 'trusted', 0)
      }
      // The kernel refuses the same directory twice.
      const order = Array.from({ length: random.int(3, 7) }, () => random.int(0, paths.length - 1))
      order.forEach((index, at) => {
        run('cp', '-a', paths[index]!, join(folder, `copy${at}`))
      })
      const lower = order.map((_, at) => join(folder, `copy${at}`)).reverse()
      run('mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=${lower.join(':')}`, target)
      mounted = true
      for (const path of paths) layers.push(new HostDirectoryLayer(path))
      // The links of a directory tell how many parts it has.
      const withoutLinks = (seen: Map<string, Seen>) =>
        [...seen]
          .map(([path, one]) => [path, isDirectory(one.mode) ? { ...one, nlink: 0 } : one] as const)
          .sort()
      const ours = seenByUs(new MergedTree(order.map((index) => layers[index]!)), ROOT_NODE_ID)
      expect(withoutLinks(ours), `seed ${seed}: ${order}`).toEqual(withoutLinks(seenByKernel(target)))
    } finally {
      for (const layer of layers) layer.close()
      if (mounted) run('umount', target)
      rmSync(folder, { recursive: true, force: true })
    }
  }
})

describe('host directories against the overlayfs of the kernel', () => {
  for (const space of ['user', 'trusted'] as const) {
    for (let seed = 1; seed <= 12; seed++) {
      test.skipIf(!need.ok)(
        titled(`host directories with ${space}.overlay attributes match overlayfs, seed ${seed}`, need),
        () => {
          const random = new Random(seed * 31 + (space === 'user' ? 0 : 1000))
          const folder = mkdtempSync(join(tmpdir(), 'atomfs-layers-'))
          const target = join(folder, 'mnt')
          const layers: HostDirectoryLayer[] = []
          let mounted = false
          try {
            mkdirSync(target)
            const paths = Array.from({ length: random.int(2, 5) }, (_, i) => join(folder, `layer${i}`))
            for (const path of paths) {
              mkdirSync(path)
              fillDirectory(path, random, space, 0)
            }
            const lower = `lowerdir=${[...paths].reverse().join(':')}`
            run(
              'mount',
              '-t',
              'overlay',
              'overlay',
              '-o',
              space === 'user' ? `${lower},userxattr` : lower,
              target,
            )
            mounted = true
            for (const path of paths) layers.push(new HostDirectoryLayer(path))
            const kernel = seenByKernel(target)
            const ours = seenByUs(new MergedTree(layers), ROOT_NODE_ID)
            expect([...ours.keys()].sort()).toEqual([...kernel.keys()].sort())
            for (const [path, seen] of ours) expect(seen, path).toEqual(kernel.get(path))
            expect(ours.size).toBeGreaterThan(3)
          } finally {
            for (const layer of layers) layer.close()
            if (mounted) run('umount', target)
            rmSync(folder, { recursive: true, force: true })
          }
        },
      )
    }
  }
})
