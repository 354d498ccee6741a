import { createHash } from 'node:crypto'
import {
  appendFileSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { TreeFacts } from './facts.ts'
import { listTree } from './list-tree.ts'
import { type Selected, type SelectionLimits, selectFiles } from './select.ts'
import { findStartUps } from './start-ups.ts'

export interface TreeShape extends SelectionLimits {
  /** Bytes of the one large file; 0 for none. */
  readonly bigBytes: number
}

const BIG_FILE = 'big.bin'
const READERS = 4
/** Of everything whose time is not that of a file. */
const FIXED_TIME = 1_500_000_000

/**
 * Copies the chosen files to `tree` and finds out what is true of the copy. The manifest lists every path with its
 * size and says the digest of that list.
 */
export async function buildTree(tree: string, shape: TreeShape): Promise<TreeFacts> {
  rmSync(tree, { recursive: true, force: true })
  const selected = selectFiles(shape)
  const lines: string[] = []
  for (const entry of selected) {
    if (copy(entry, tree)) lines.push(`${entry.type}\t${entry.size}\t${entry.path}`)
  }
  if (shape.bigBytes > 0) writeBigFile(join(tree, BIG_FILE), shape.bigBytes)
  setDirectoryTimes(tree)
  const list = `${lines.join('\n')}\n`
  const digest = createHash('sha256').update(list).digest('hex')
  writeFileSync(`${tree}.manifest`, `# ${lines.length} entries, sha256 of the lines below ${digest}\n${list}`)
  return await factsOf(tree, shape.bigBytes)
}

/** Times of files are kept: Python compares them with its compiled modules. */
function copy(entry: Selected, tree: string): boolean {
  const to = join(tree, entry.path)
  try {
    if (entry.type === 'directory') mkdirSync(to, { recursive: true })
    else {
      mkdirSync(dirname(to), { recursive: true })
      if (entry.type === 'symlink') {
        symlinkSync(readlinkSync(entry.path), to)
        lutimesSync(to, FIXED_TIME, FIXED_TIME)
      } else {
        copyFileSync(entry.path, to)
        const mtime = Math.floor(statSync(entry.path).mtimeMs / 1000)
        utimesSync(to, mtime, mtime)
      }
    }
    return true
  } catch {
    // Gone or not readable since it was listed: the facts are taken from the copy.
    return false
  }
}

/** Machine code: it compresses like programs do. */
function writeBigFile(path: string, bytes: number): void {
  writeFileSync(path, '')
  while (statSync(path).size < bytes) appendFileSync(path, readFileSync(process.execPath))
  truncateSync(path, bytes)
  utimesSync(path, FIXED_TIME, FIXED_TIME)
}

function setDirectoryTimes(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) setDirectoryTimes(join(directory, entry.name))
  }
  utimesSync(directory, FIXED_TIME, FIXED_TIME)
}

async function factsOf(tree: string, bigBytes: number): Promise<TreeFacts> {
  const count = async (command: string): Promise<number> =>
    Number((await run('bash', ['-o', 'pipefail', '-c', command], { cwd: tree, timeout: 300_000 })).stdout)
  const files = regularFiles(tree)
  const startUps = await findStartUps(tree)
  return {
    entries: await count('find . -ls | wc -l'),
    tarBytes: await count('tar cf - . | wc -c'),
    contentBytes: files.reduce((sum, file) => sum + file.size, 0),
    ...(bigBytes === 0 ? {} : { bigFile: { name: BIG_FILE, bytes: bigBytes } }),
    readerLists: writeReaderLists(tree, files),
    startUps,
  }
}

function regularFiles(tree: string): { readonly name: string; readonly size: number }[] {
  return [...listTree(tree)]
    .filter(({ stat }) => stat.isFile())
    .map(({ name, stat }) => ({ name, size: stat.size }))
}

/** Neighbours stay together, as when four programs start at once; every reader gets a quarter of the bytes. */
function writeReaderLists(tree: string, files: readonly { name: string; size: number }[]): string[] {
  const small = files.filter(({ name }) => name !== BIG_FILE)
  const total = small.reduce((sum, { size }) => sum + size, 0)
  const lists = Array.from({ length: READERS }, (): string[] => [])
  let before = 0
  for (const { name, size } of small) {
    lists[Math.min(READERS - 1, Math.floor((before / total) * READERS))]?.push(name)
    before += size
  }
  return lists.map((list, i) => {
    const path = `${tree}.reader${i}`
    writeFileSync(path, list.map((name) => `${name}\0`).join(''))
    return path
  })
}
