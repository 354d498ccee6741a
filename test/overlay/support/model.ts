import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../../../src/base/index.ts'
import type { Random } from '../../library/trees/random.ts'
import { MemoryLayer } from './memory-layer.ts'

/** A tree as generated: one layer, or the model's idea of the merge. */
export interface ModelNode {
  readonly mode: number
  readonly uid: number
  readonly rdev: number
  readonly content: string
  readonly xattrs: Readonly<Record<string, string>>
  /** Directories only. */
  readonly children: Map<string, ModelNode>
  /** Layers that a directory of the merge is made of. */
  readonly depth: number
}

const NAMES = ['a', 'b', 'c', 'dd', '.opq', '.e', '-m', '\xfe']

function node(mode: number, rest: Partial<ModelNode> = {}): ModelNode {
  return { mode, uid: 0, rdev: 0, content: '', xattrs: {}, children: new Map(), depth: 1, ...rest }
}

function randomXattrs(random: Random): Record<string, string> {
  const xattrs: Record<string, string> = {}
  if (random.chance(0.3)) xattrs['user.a'] = `v${random.int(0, 99)}`
  if (random.chance(0.2)) xattrs['user.overlay.overlay.opaque'] = 'y'
  if (random.chance(0.2)) xattrs['trusted.overlay.origin'] = 'o'
  if (random.chance(0.1)) xattrs['user.fuseoverlayfs.origin'] = 'o'
  return xattrs
}

/** A layer with whiteouts and opaque directories in all their forms, and types that change from layer to layer. */
export function randomLayer(random: Random, level = 0): ModelNode {
  const children = new Map<string, ModelNode>()
  const xattrs = randomXattrs(random)
  if (random.chance(level === 0 ? 0.06 : 0.3)) {
    const space = random.pick(['trusted.overlay', 'user.overlay', 'user.fuseoverlayfs'])
    xattrs[`${space}.opaque`] = random.pick(['y', 'y', 'x', 'x', 'yy', 'z'])
  }
  if (random.chance(level === 0 ? 0.04 : 0.12)) children.set('.wh..wh..opq', node(S_IFREG | 0o644))
  if (random.chance(0.05)) children.set('.wh..opq', node(S_IFCHR, { rdev: 0 }))
  if (random.chance(0.05)) children.set('.wh..wh.aufs', node(S_IFREG))
  for (const name of NAMES) {
    const kind = random.chance(0.2) ? S_IFCHR : S_IFREG | 0o700
    if (random.chance(0.08)) children.set(`.wh.${name}`, node(kind, { rdev: 0 }))
    if (random.chance(0.55)) children.set(name, randomNode(random, level))
  }
  return node(S_IFDIR | random.int(0, 0o777), { uid: random.int(0, 9), children, xattrs })
}

function randomNode(random: Random, level: number): ModelNode {
  const xattrs = randomXattrs(random)
  const common = { uid: random.int(0, 9), xattrs }
  const roll = random.int(0, 99)
  if (roll < 45 && level < 4) return randomLayer(random, level + 1)
  if (roll < 60) return node(S_IFCHR | random.int(0, 0o777), { ...common, rdev: 0 })
  if (roll < 70) {
    xattrs[`${random.pick(['trusted', 'user'])}.overlay.whiteout`] = random.pick(['', 'y'])
    return node(S_IFREG | 0o600, { ...common, content: random.chance(0.2) ? 'full' : '' })
  }
  if (roll < 90) {
    return node(S_IFREG | random.int(0, 0o7777), { ...common, content: 'x'.repeat(random.int(0, 9)) })
  }
  if (roll < 94) return node(S_IFLNK | 0o777, { ...common, content: `to${random.int(0, 9)}` })
  if (roll < 96) return node(S_IFCHR | 0o600, { ...common, rdev: random.int(1, 300) })
  return node(random.pick([S_IFIFO, S_IFBLK]) | 0o600, { ...common })
}

export function toLayer(label: string, root: ModelNode): MemoryLayer {
  const built = new MemoryLayer(label, { root })
  const fill = (ref: number, directory: ModelNode) => {
    for (const [name, child] of directory.children) {
      const added = built.add(ref, name, child)
      if (isDir(child)) fill(added, child)
    }
  }
  fill(built.root, root)
  return built
}

export function isDir(one: ModelNode | undefined): boolean {
  return one !== undefined && (one.mode & 0o170000) === S_IFDIR
}

/**
 * The merge as a container engine would do it on disk: each layer applied onto the tree of those below, deletions
 * first. It shares no rule with the code under test.
 */
export function applyLayer(base: ModelNode | undefined, directory: ModelNode): ModelNode {
  const attribute =
    directory.xattrs['trusted.overlay.opaque'] ?? directory.xattrs['user.overlay.opaque'] ?? undefined
  const foreign = attribute === undefined && directory.xattrs['user.fuseoverlayfs.opaque'] === 'y'
  const opaque = attribute === 'y' || foreign || directory.children.has('.wh..wh..opq')
  const below = isDir(base) && !opaque ? base : undefined
  const children = new Map(below?.children)
  for (const [name, child] of directory.children) {
    const mangled = name === '.wh..opq' && (child.mode & 0o170000) === S_IFCHR
    if (name.startsWith('.wh.') && !name.startsWith('.wh..wh.') && !mangled) children.delete(name.slice(4))
  }
  for (const [name, child] of directory.children) {
    if (name.startsWith('.wh.')) continue
    const kind = child.mode & 0o170000
    const marked = 'user.overlay.whiteout' in child.xattrs || 'trusted.overlay.whiteout' in child.xattrs
    const byAttribute = attribute === 'x' && kind === S_IFREG && child.content === '' && marked
    if ((kind === S_IFCHR && child.rdev === 0) || byAttribute) children.delete(name)
    else children.set(name, isDir(child) ? applyLayer(children.get(name), child) : child)
  }
  return { ...directory, children, depth: (below?.depth ?? 0) + 1 }
}

/** Attributes that users see. */
export function shownXattrs(stored: Readonly<Record<string, string>>): Record<string, string> {
  const shown: Record<string, string> = {}
  for (const [name, value] of Object.entries(stored)) {
    const own = /^(user|trusted)\.overlay\.(overlay\.)?(.*)$/.exec(name)
    if (name.startsWith('user.fuseoverlayfs.')) continue
    if (own === null) shown[name] = value
    else if (own[2] !== undefined) shown[`${own[1]}.overlay.${own[3]}`] = value
  }
  return shown
}
