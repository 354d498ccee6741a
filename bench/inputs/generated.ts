import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { tarEnd, tarEntry } from '../../test/library/images/tar-entry.ts'
import { Random } from '../../test/library/trees/random.ts'
import type { TreeFacts } from './facts.ts'

export interface GeneratedShape {
  readonly directories: number
  /** Files in each directory. */
  readonly files: number
}

const LOOKUPS = 1000
const TIME = 1_500_000_000

/** Packs a tree that exists only as a rule: no file of it is ever on disk. Needs sqfstar (squashfs-tools 4.5). */
export async function buildGenerated(image: string, shape: GeneratedShape): Promise<TreeFacts> {
  const packer = spawn('sqfstar', ['-comp', 'zstd', '-quiet', '-no-progress', image], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: 900_000,
  })
  let errors = ''
  packer.stderr.on('data', (piece: Buffer) => {
    errors = (errors + piece.toString()).slice(-2000)
  })
  // A packer that ends early says so by its status.
  packer.stdin.on('error', () => {})
  packer.on('error', (error) => {
    errors += error.message
  })
  const end = once(packer, 'close')
  for (const piece of archive(shape)) {
    if (packer.stdin.destroyed) break
    if (!packer.stdin.write(piece)) await Promise.race([once(packer.stdin, 'drain'), end])
  }
  packer.stdin.end()
  const [status] = (await end) as [number | null]
  if (status !== 0) throw new Error(`sqfstar: status ${status}: ${errors.trim()}`)
  return {
    entries: 1 + shape.directories * (shape.files + 1),
    // Not asked for: nothing reads these files.
    tarBytes: 0,
    contentBytes: 0,
    readerLists: [],
    startUps: [],
    lookups: writeLookups(`${image}.names`, shape),
  }
}

function* archive({ directories, files }: GeneratedShape): Generator<Buffer> {
  for (let d = 0; d < directories; d += 1) {
    yield tarEntry({ path: directoryName(d), type: 'directory', mode: 0o755, uid: 0, mtime: TIME })
    for (let n = 0; n < files; n += 1000) {
      const part = Array.from({ length: Math.min(1000, files - n) }, (_, i) =>
        // One in ten has content.
        tarEntry({
          path: `${directoryName(d)}/${fileName(n + i)}`,
          type: 'file',
          mode: 0o644,
          uid: (n + i) % 7,
          mtime: TIME + n + i,
          content: i % 10 === 3 ? `directory ${d} file ${n + i}\n` : '',
        }),
      )
      yield Buffer.concat(part)
    }
  }
  yield tarEnd()
}

function writeLookups(list: string, { directories, files }: GeneratedShape): { list: string; count: number } {
  const random = new Random(4711)
  const names = Array.from(
    { length: LOOKUPS },
    () => `${directoryName(random.int(0, directories - 1))}/${fileName(random.int(0, files - 1))}\0`,
  )
  writeFileSync(list, names.join(''))
  return { list, count: LOOKUPS }
}

const directoryName = (i: number) => `d${String(i).padStart(4, '0')}`
const fileName = (i: number) => `file-${String(i).padStart(6, '0')}`
