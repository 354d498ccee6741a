import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { archive } from '../library/images/million.ts'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  makeTempDir,
  needs,
  Random,
  removeTempDir,
  run,
  tarEnd,
  tarEntry,
  withAtomfs,
  withKernelSquashfs,
} from '../library/index.ts'
import { writeAt } from '../library/programs/write-at.ts'

/** Images of gigabytes and of a million files: only with `ATOMFS_STRESS=1`, some ten minutes. */

const STRESS = process.env['ATOMFS_STRESS'] === '1'
const need = needs('root', 'kernel-squashfs', 'loop', 'fuse', 'unsquashfs')
const MIB = 2 ** 20
/** Of the process that makes an image. */
const MEMORY_LIMIT = 400 * MIB
const temp = makeTempDir()
afterAll(() => removeTempDir(temp))

/** Packs an archive that is made while it is read. @returns the largest resident memory of the process, bytes */
async function packStream(
  pieces: Iterable<Uint8Array>,
  image: string,
  args: readonly string[],
): Promise<number> {
  const child = spawn(ATOMFS_FUSE, ['pack', '-', image, '--no-verity', '--quiet', ...args], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  let peak = 0
  const note = (): void => {
    try {
      const text = readFileSync(`/proc/${child.pid}/status`, 'latin1')
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024)
    } catch {
      // It has ended.
    }
  }
  // It only grows, so the last look is nearly at the largest.
  const timer = setInterval(note, 20)
  try {
    const ended = once(child, 'close')
    child.stdin.on('error', () => {})
    for (const piece of pieces) {
      if (child.stdin.destroyed) break
      if (!child.stdin.write(piece)) await Promise.race([once(child.stdin, 'drain'), ended])
      note()
    }
    child.stdin.end()
    expect(await ended).toEqual([0, null])
  } finally {
    clearInterval(timer)
    child.kill('SIGKILL')
  }
  return peak
}

const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const

/** A header for a file of this size, whose content comes next. */
function headerOf(path: string, size: number): Buffer {
  const bytes = tarEntry({ ...FILE, path })
  const before = [...bytes.subarray(124, 136)].reduce((sum, byte) => sum + byte, 0)
  bytes.write(size.toString(8).padStart(11, '0'), 124)
  const after = [...bytes.subarray(124, 136)].reduce((sum, byte) => sum + byte, 0)
  const sum = Number.parseInt(bytes.toString('latin1', 148, 154), 8) + after - before
  bytes.write(sum.toString(8).padStart(6, '0'), 148)
  return bytes
}

/** Bytes of a file, a MiB at a time, no two of which are equal. */
function* noise(seed: number, size: number): Generator<Buffer> {
  const block = new Random(99).bytes(MIB)
  for (let at = 0; at < size; at += MIB) {
    const piece = Buffer.from(block)
    piece.writeUInt32LE(seed, 0)
    piece.writeDoubleLE(at, 4)
    yield piece
  }
}

/** Large files, and behind each a small one. */
function* largeArchive(count: number, size: number): Generator<Buffer> {
  for (let i = 0; i < count; i++) {
    yield headerOf(`large${i}`, size)
    yield* noise(i, size)
    yield tarEntry({ ...FILE, path: `small${i}`, content: `behind file ${i}` })
  }
  yield tarEnd()
}

/** What sha256sum says of these files. */
function largeSums(count: number, size: number): string {
  const lines: string[] = []
  for (let i = 0; i < count; i++) {
    const hash = createHash('sha256')
    for (const piece of noise(i, size)) hash.update(piece)
    lines.push(`${hash.digest('hex')}  large${i}\n`)
  }
  for (let i = 0; i < count; i++) {
    lines.push(`${createHash('sha256').update(`behind file ${i}`).digest('hex')}  small${i}\n`)
  }
  return lines.join('')
}

/** Two equal files, and one of the same size. */
function* twinArchive(size: number): Generator<Buffer> {
  for (const [name, seed] of [
    ['a', 1],
    ['b', 1],
    ['c', 2],
  ] as const) {
    yield headerOf(name, size)
    yield* noise(seed, size)
  }
  yield tarEnd()
}

describe.runIf(need.ok && STRESS)('a large image (ATOMFS_STRESS=1)', () => {
  test('of a million files is made in at most 400 MiB of memory', async () => {
    const image = join(temp, 'million.squashfs')
    // 1000 directories of 1020 files each.
    const shape = { directories: 1000, names: 1700, wide: 0 }
    const peak = await packStream(archive(shape, 0), image, [])
    console.info(`1 021 000 entries of an archive: peak ${Math.round(peak / MIB)} MiB`)
    expect(peak).toBeLessThanOrEqual(MEMORY_LIMIT)
    const { stdout } = await run('unsquashfs', ['-s', image])
    expect(stdout).toMatch(/Number of inodes 1021001$/m)
    const files = await withKernelSquashfs(
      temp,
      image,
      async (target) => (await run('sh', ['-c', 'find "$0" -type f -printf x | wc -c', target])).stdout,
    )
    expect(files.trim()).toBe('1020000')
  }, 600_000)

  test('of more than 4 GiB is the same in the kernel and in our reader, tables and fragments behind 4 GiB too', async () => {
    const image = join(temp, 'large.squashfs')
    const peak = await packStream(largeArchive(5, 900 * MIB), image, [
      ...['--compression', 'lz4', '--uncompressed', 'data,fragments'],
    ])
    console.info(`an image of ${statSync(image).size} bytes: peak ${Math.round(peak / MIB)} MiB`)
    expect(statSync(image).size).toBeGreaterThan(4.2 * 2 ** 30)
    expect(peak).toBeLessThanOrEqual(MEMORY_LIMIT)
    const sums = async (target: string): Promise<string> =>
      (await run('sh', ['-c', 'cd "$0" && sha256sum *', target], { timeout: 300_000 })).stdout
    const kernel = await withKernelSquashfs(temp, image, sums)
    expect(kernel).toBe(largeSums(5, 900 * MIB))
    expect(await withAtomfs(temp, image, ({ target }) => sums(target))).toBe(kernel)
    rmSync(image)
  }, 900_000)

  test('of two equal files of more than 1 GiB has them once, in bounded memory', async () => {
    const image = join(temp, 'twins.squashfs')
    const size = 1100 * MIB
    const peak = await packStream(twinArchive(size), image, ['--compression', 'lz4'])
    console.info(`equal files of ${size} bytes: peak ${Math.round(peak / MIB)} MiB`)
    expect(peak).toBeLessThanOrEqual(MEMORY_LIMIT)
    expect(statSync(image).size).toBeLessThan(2.1 * size)
    expect(statSync(image).size).toBeGreaterThan(2 * size)
    const sums = await withKernelSquashfs(
      temp,
      image,
      async (target) =>
        (await run('sh', ['-c', 'cd "$0" && sha256sum *', target], { timeout: 300_000 })).stdout,
    )
    const [a, b, c] = sums.split('\n').map((line) => line.split(' ')[0])
    expect(a).toBe(b)
    expect(c).not.toBe(a)
    rmSync(image)
  }, 900_000)

  test('of a file of 1 TiB with one block of data has that block at its place', async () => {
    const folder = join(temp, 'sparse')
    mkdirSync(folder)
    const size = 2 ** 40
    const at = 700 * 2 ** 30 + 12_345
    writeAt(join(folder, 'f'), at, Buffer.from('here'))
    truncateSync(join(folder, 'f'), size)
    const image = join(temp, 'sparse.squashfs')
    const start = performance.now()
    await atomfsFuse(['pack', folder, image, '--no-verity'], { timeout: 1_500_000 })
    console.info(`1 TiB with one block: ${Math.round((performance.now() - start) / 1000)} s`)
    const look = (target: string): unknown => {
      const fd = openSync(join(target, 'f'), 'r')
      try {
        const page = (position: number): string => {
          const bytes = Buffer.alloc(8, 'x')
          return bytes.subarray(0, readSync(fd, bytes, 0, 8, position)).toString('latin1')
        }
        return [fstatSync(fd).size, page(at - 2), page(at + 200_000), page(size - 4), page(0)]
      } finally {
        closeSync(fd)
      }
    }
    const expected = [size, '\0\0here\0\0', '\0'.repeat(8), '\0'.repeat(4), '\0'.repeat(8)]
    expect(await withKernelSquashfs(temp, image, look)).toEqual(expected)
    expect(await withAtomfs(temp, image, ({ target }) => look(target))).toEqual(expected)
  }, 1_800_000)
})
