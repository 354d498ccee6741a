import { closeSync } from 'node:fs'
import {
  DT_DIR,
  type Entry,
  type FileSystem,
  type FoundLayer,
  FsError,
  type ImageFile,
  isDirectory,
  isSymlink,
  type Layer,
  type Name,
  type NodeId,
  type Ref,
  ROOT_NODE_ID,
} from '../../base/index.ts'
import type { Moves } from '../../store/index.ts'
import { openLayerStack, openMolecule } from '../open.ts'
import { moleculeOf } from '../resolve.ts'
import { layerDescriptors, type MoleculeSpec } from '../spec.ts'

/**
 * What a tar layer means over certain layers: it may take directories and files for granted that only those below have, as
 * for those who extract one layer over the other.
 */

const MARK = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** As in the kernel's path walk. */
const LINKS_MAX = 40
/** Directories that are compared: as many of an honest layer are in the layers below, too. */
const DIRECTORIES_MAX = 1 << 20

/** A directory of a layer, and where it is in the merge of those below. */
interface Waiting {
  readonly ref: Ref
  /** In the archive. */
  readonly path: Name
  /** In the merge. */
  readonly place: Name
  readonly node: NodeId
}

/**
 * Where directories of a layer belong that have no entries of their own and are symbolic links below: there, at what the
 * link leads to.
 * @param index of the layer
 * @param below bottom first
 * @throws FsError EIO; ELOOP; EFBIG
 */
export function movesOf(index: ImageFile, below: readonly FoundLayer[]): Moves {
  const moves = new Map<Name, Name>()
  if (below.length === 0) return moves
  withLayer(index, (layer) =>
    withMerge(below, (tree) => {
      const waiting: Waiting[] = [{ ref: layer.root, path: '', place: '', node: ROOT_NODE_ID }]
      let count = 0
      for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
        count += 1
        if (count > DIRECTORIES_MAX)
          throw new FsError('EFBIG', `${layer.label}: more than ${DIRECTORIES_MAX} directories`)
        for (const { name, ref } of directoriesOf(layer, one.ref)) {
          const path = joined(one.path, name)
          const found = tree.lookup(one.node, name)
          if (found === undefined) continue
          const place = joined(one.place, name)
          if (isDirectory(found.stat.mode)) waiting.push({ ref, path, place, node: found.nodeId })
          // An opaque one hides the link.
          else if (
            isSymlink(found.stat.mode) &&
            layer.isImplied?.(ref) === true &&
            layer.lookup(ref, OPAQUE) === undefined
          ) {
            const led = follow(tree, place, true)
            if (led.entry !== undefined && !isDirectory(led.entry.stat.mode)) continue
            moves.set(path, led.path)
            if (led.entry !== undefined) waiting.push({ ref, path, place: led.path, node: led.entry.nodeId })
          }
        }
      }
    }),
  )
  return moves
}

/**
 * Looks whether the layers below have the files to which a layer only gives further names.
 * @throws FsError EINVAL where they have not; EIO, ELOOP
 */
export function checkLinks(index: ImageFile, below: readonly FoundLayer[]): void {
  withLayer(index, (layer) => {
    const check = (tree: FileSystem | undefined): void => {
      for (const { path, target } of linksOf(layer)) {
        const mode = tree && follow(tree, target, false).entry?.stat.mode
        if (mode !== undefined && !isDirectory(mode)) continue
        const [link, file] = [path, target].map((name) => JSON.stringify(name))
        throw new FsError(
          'EINVAL',
          `layer ${index.label}: hard link ${link}: there is no file ${file}, here or in a layer below`,
        )
      }
    }
    if (below.length === 0) check(undefined)
    else withMerge(below, check)
  })
}

/** The directories in one of a layer, as far as they may show what the layers below have. */
function* directoriesOf(layer: Layer, directory: Ref): Generator<{ readonly name: Name; readonly ref: Ref }> {
  if (layer.lookup(directory, OPAQUE) !== undefined) return
  const cursor = layer.openDirectory(directory, 0)
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    const { name, ref, type } = entry
    if (type === DT_DIR && layer.lookup(directory, MARK + name) === undefined) yield { name, ref }
  }
}

/** The entries of a layer whose files it does not have. */
function* linksOf(layer: Layer): Generator<{ readonly path: Name; readonly target: Name }> {
  const waiting: Pick<Waiting, 'ref' | 'path'>[] = [{ ref: layer.root, path: '' }]
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    const cursor = layer.openDirectory(one.ref, 0)
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      const path = joined(one.path, entry.name)
      if (entry.type === DT_DIR) waiting.push({ ref: entry.ref, path })
      else if (entry.isBelow === true) yield { path, target: layer.pathBelow?.(entry.ref) ?? '' }
    }
  }
}

/** What is at the end of a path. */
interface Led {
  /** Without symbolic links, as far as there is anything. */
  readonly path: Name
  readonly entry: Entry | undefined
}

/** @param followsLast whether a symbolic link at the end is followed. @throws FsError ELOOP */
function follow(tree: FileSystem, path: Name, followsLast: boolean): Led {
  const waiting = path.split('/')
  const way: { readonly name: Name; readonly entry: Entry | undefined }[] = []
  let links = 0
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (name === '..') way.pop()
    if (name === '' || name === '.' || name === '..') continue
    const directory = way.length === 0 ? ROOT_NODE_ID : way.at(-1)?.entry?.nodeId
    const entry = directory === undefined ? undefined : lookupIn(tree, directory, name)
    const isLink = entry !== undefined && isSymlink(entry.stat.mode)
    if (!isLink || (waiting.length === 0 && !followsLast)) {
      way.push({ name, entry })
      continue
    }
    links += 1
    if (links > LINKS_MAX) {
      throw new FsError('ELOOP', `${JSON.stringify(path)}: more than ${LINKS_MAX} symbolic links on the way`)
    }
    const target = Buffer.from(tree.readlink(entry.nodeId)).toString('latin1')
    if (target.startsWith('/')) way.length = 0
    waiting.unshift(...target.split('/'))
  }
  return { path: way.map(({ name }) => name).join('/'), entry: way.at(-1)?.entry }
}

/** @returns undefined also where something is there that is no directory */
function lookupIn(tree: FileSystem, directory: NodeId, name: Name): Entry | undefined {
  return isDirectory(tree.getattr(directory).mode) ? tree.lookup(directory, name) : undefined
}

function withLayer(index: ImageFile, work: (layer: Layer) => void): void {
  withSpec(moleculeOf([index], false), (spec) => {
    const stack = openLayerStack(spec)
    try {
      const [layer] = stack.layers
      if (layer !== undefined) work(layer)
    } finally {
      stack.close()
    }
  })
}

function withMerge(layers: readonly FoundLayer[], work: (tree: FileSystem) => void): void {
  withSpec(moleculeOf(layers, false), (spec) => {
    const { fileSystem, closeLayers } = openMolecule(spec)
    try {
      work(fileSystem)
    } finally {
      closeLayers()
    }
  })
}

function withSpec(spec: MoleculeSpec, work: (spec: MoleculeSpec) => void): void {
  try {
    work(spec)
  } finally {
    for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
  }
}

function joined(folder: Name, name: Name): Name {
  return folder === '' ? name : `${folder}/${name}`
}
