import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { S_IFCHR, S_IFIFO } from '../../../../src/base/index.ts'
import { mknodAt, O_PATH } from '../../../../src/sys/files/at.ts'
import { setxattrFd } from '../../../../src/sys/files/xattr.ts'
import type { Random } from '../../../library/trees/random.ts'

const NAMES = ['a', 'b', 'c', 'dd', 'e\xe9', '-f', '.g']

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

export interface LowerOptions {
  readonly namespace: 'user' | 'trusted'
  /** Nothing lies below: no whiteouts. */
  readonly bottom: boolean
  readonly hardLinks: boolean
}

/** Fills a directory as a layer: files of all types, hard links, whiteouts and opaque directories, old times. */
export function makeLower(random: Random, root: string, options: LowerOptions): void {
  fill(random, root, options, 0, [])
  setTimes(root)
}

function fill(
  random: Random,
  directory: string,
  options: LowerOptions,
  level: number,
  files: string[],
): void {
  const { namespace, bottom, hardLinks } = options
  for (const name of NAMES) {
    if (!random.chance(level === 0 ? 0.7 : 0.5)) continue
    const path = join(directory, name)
    const roll = random.int(0, 99)
    if (roll < 45 && level < 3) {
      mkdirSync(bytes(path))
      fill(random, path, options, level + 1, files)
      if (!bottom && random.chance(0.15)) setXattr(path, `${namespace}.overlay.opaque`, 'y')
      if (random.chance(0.2)) setXattr(path, 'user.x', 'dir')
      chmodSync(bytes(path), random.pick([0o755, 0o700, 0o2775, 0o555]))
    } else if (roll < 55 && !bottom) {
      makeNode(directory, name, S_IFCHR)
    } else if (roll < 62) symlinkSync(bytes(random.pick(['a', '../b', 'nowhere'])), bytes(path))
    else if (roll < 66) makeNode(directory, name, S_IFIFO | 0o640)
    else if (roll < 76 && hardLinks && files.length > 0) linkSync(bytes(random.pick(files)), bytes(path))
    else {
      writeFileSync(bytes(path), random.text(random.int(0, 5000)))
      if (random.chance(0.3)) setXattr(path, 'user.x', `v${roll}`)
      chownSync(bytes(path), random.pick([0, 0, 7]), random.pick([0, 8]))
      chmodSync(bytes(path), random.pick([0o644, 0o600, 0o4755, 0o2755, 0]))
      files.push(path)
    }
  }
}

function makeNode(directory: string, name: string, mode: number): void {
  const fd = openSync(bytes(directory), O_PATH)
  try {
    mknodAt(fd, name, mode, 0)
  } finally {
    closeSync(fd)
  }
}

function setXattr(path: string, name: string, value: string): void {
  const fd = openSync(bytes(path), O_PATH)
  try {
    setxattrFd(fd, name, Buffer.from(value), 'either')
  } finally {
    closeSync(fd)
  }
}

function setTimes(path: string): void {
  for (const entry of readdirSync(bytes(path), { withFileTypes: true, encoding: 'buffer' })) {
    const child = join(path, entry.name.toString('latin1'))
    if (entry.isDirectory()) setTimes(child)
    else lutimesSync(bytes(child), 1_000_000_000, 1_100_000_000.5)
  }
  lutimesSync(bytes(path), 1_000_000_000, 1_200_000_000.25)
}
