import { closeSync, fdatasyncSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Fetcher } from '../../../src/base/index.ts'
import { Understudy } from '../../../src/drivers/builtin/understudy.ts'
import { DEFAULT_KERNEL_OPTIONS } from '../../../src/fuse/index.ts'
import { type MoleculeSpec, parseSource, resolveMolecule } from '../../../src/molecule/index.ts'
import { makeTempDir, removeTempDir } from '../../library/index.ts'
import { dropPages } from '../../library/programs/direct-io.ts'
import { build, directoryInode, fileInode, run } from '../../squashfs/support/builder.ts'

const PLAIN = 1 << 24
const FILES = 40
const SIZE = 9000

let folder: string
beforeEach(() => {
  folder = makeTempDir()
})
afterEach(() => removeTempDir(folder))

/** An image of some files that are not compressed. */
function imageFile(): string {
  const data = new Uint8Array(FILES * SIZE)
  const files = Array.from({ length: FILES }, (_, i) =>
    fileInode(i + 1, { start: 96 + i * SIZE, size: SIZE, blocks: [PLAIN | SIZE] }),
  )
  const listing = run(
    1,
    files.map((file, i) => ({
      name: `file${String(i).padStart(3, '0')}`,
      offset: i * file.length,
      type: 2,
      delta: i,
    })),
  )
  const root = directoryInode(FILES + 1, { size: listing.length })
  const path = join(folder, 'image')
  writeFileSync(path, build({ data, inodes: [...files, root], directories: listing }).bytes)
  return path
}

const molecule = (path: string): MoleculeSpec =>
  resolveMolecule({
    ...{ source: parseSource(path), name: path },
    ...{ allowMissingVerity: false, verify: 'lazy', options: {} },
  })

const OPTIONS = { kernel: DEFAULT_KERNEL_OPTIONS, namesTrusted: false }

/** Plays both rehearsals. @returns how often each answer came */
function play(understudy: Understudy | undefined, atEach = () => {}): Record<string, number> {
  const answers: Record<string, number> = {}
  for (const work of understudy?.rehearsals() ?? []) {
    for (let more = work(); more !== false; more = work()) {
      answers[`${more}`] = (answers[`${more}`] ?? 0) + 1
      atEach()
      if ((answers[`${more}`] ?? 0) > 10_000) throw new Error('it does not end')
    }
  }
  return answers
}

const openFiles = (): number => readdirSync('/proc/self/fd').length

test('an understudy plays a mount twice: names, paths and data, and leaves no descriptor', () => {
  const spec = molecule(imageFile())
  const before = openFiles()
  let most = 0
  const answers = play(Understudy.of(spec, OPTIONS), () => {
    most = Math.max(most, openFiles() - before)
  })
  // A step for each file that is read, a path that is walked, and a listing.
  expect(answers['true']).toBeGreaterThan(2 * FILES)
  expect(answers['later']).toBeUndefined()
  // The two ends of the connection are open meanwhile.
  expect(most).toBeGreaterThanOrEqual(2)
  expect(openFiles()).toBe(before)
})

test('an understudy whose image has gone ends without an error', () => {
  const path = imageFile()
  const spec = molecule(path)
  writeFileSync(path, '')
  expect(play(Understudy.of(spec, OPTIONS))['true'] ?? 0).toBeLessThan(10)
})

test('there is none for directories of the machine', () => {
  const spec = molecule(imageFile())
  const directory = { label: 'd', fd: 0, followsRedirects: false }
  expect(Understudy.of({ ...spec, layers: [0, directory] }, OPTIONS)).toBeUndefined()
})

test('bytes that are not in the page cache are read by others, and the rehearsal goes on with them', () => {
  const path = imageFile()
  const spec = molecule(path)
  const fd = openSync(path, 'r')
  let asked = 0
  const fetcher: Fetcher = {
    most: 64 << 10,
    ready: true,
    fetch: (source, position, length) => {
      asked += 1
      let polls = 0
      return {
        poll: () => {
          polls += 1
          if (polls < 3) return undefined
          const content = Buffer.alloc(length)
          readSync(fd, content, 0, length, position)
          return { source, position, length, content }
        },
      }
    },
  }
  try {
    fdatasyncSync(fd)
    dropPages(fd)
    const answers = play(Understudy.of(spec, { ...OPTIONS, fetcher }))
    expect(asked).toBeGreaterThan(0)
    // Where a kernel drops pages again, it stops at the bound.
    expect(asked).toBeLessThanOrEqual(32)
    expect(answers['later']).toBeGreaterThanOrEqual(2 * asked)
    expect(answers['true']).toBeGreaterThan(2 * FILES)
  } finally {
    closeSync(fd)
  }
})
