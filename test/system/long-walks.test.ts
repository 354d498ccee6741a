import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { BLOCK_LIST_MAX } from '../../squashfs/block-list.ts'
import { run } from '../library/index.ts'
import { inScene, SILENT } from '../library/scenes/life.ts'
import type { BuiltImage } from '../squashfs/support/builder.ts'
import {
  equalNames,
  holes,
  longAttribute,
  longIndex,
  manyNames,
  manyValues,
} from '../squashfs/support/long-walks.ts'

/** Images whose requests walk metadata for seconds: what others wait for meanwhile. */

const BLOCK = 1 << 20

interface Walk {
  readonly name: string
  readonly image: () => BuiltImage
  /** A shell command with the mount in "$1". */
  readonly command: string
  /** What it prints, or `any`. */
  readonly output: string | RegExp
  /** It takes so long that others must have been answered in the middle of it. */
  readonly isLong?: true
}

const WALKS: readonly Walk[] = [
  {
    name: 'a list of holes beyond the bound',
    image: () => holes(BLOCK_LIST_MAX / 4 + 2048, BLOCK),
    command: 'tail -c 1 "$1/f"',
    output: /Input\/output error/,
  },
  {
    name: 'a list of holes at the bound',
    image: () => holes(BLOCK_LIST_MAX / 4, BLOCK),
    command: 'tail -c 1 "$1/f" | od -An -tx1',
    output: ' 00\n',
    isLong: true,
  },
  {
    name: 'names that are all the same, listed',
    image: () => equalNames(1400),
    command: 'ls "$1"',
    output: /^a\n|Input\/output error/,
  },
  {
    name: 'names that are all the same, looked up',
    image: () => equalNames(1400),
    command: 'stat "$1/b"',
    output: /Input\/output error/,
  },
  {
    name: 'a value that is too large',
    image: () => longAttribute(10_000_000),
    command: 'getfattr -n user.second "$1/f" || true',
    output: /Input\/output error/,
  },
  {
    name: 'many values before the one that is wanted',
    image: () => manyValues(5000, 12_000),
    command: 'getfattr --only-values -n user.none "$1/f" || true',
    output: /No such attribute/,
  },
  {
    name: 'an index that is too large',
    image: () => longIndex(100_000_000),
    command: 'ls "$1/f"',
    output: /Input\/output error|f\n/,
  },
  {
    name: 'many names without an index',
    image: () => manyNames(2_000_000),
    command: 'stat -c %F "$1/001999999"',
    output: 'regular empty file\n',
    isLong: true,
  },
]

/** Milliseconds. Reported, not asserted: machines are busy. */
const times: string[] = []

afterAll(() => {
  for (const line of times) console.log(line)
})

describe('while one request walks', () => {
  it.each(WALKS)('$name, others are answered', async ({ name, image, command, output, isLong }) => {
    await inScene(async ({ folder, target, atomfs }) => {
      const path = join(folder, 'image')
      writeFileSync(path, image().bytes)
      mkdirSync(target, { recursive: true })
      expect(await atomfs('mount', path, target)).toMatchObject(SILENT)
      // All threads are up, and nothing is rehearsed any more.
      await run('sleep', ['1'])
      await statfs(target)
      const start = performance.now()
      const child = spawn('sh', ['-c', command, 'sh', target], { stdio: ['ignore', 'pipe', 'pipe'] })
      const ended = once(child, 'close', { signal: AbortSignal.timeout(120_000) })
      let told = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text: Buffer) => {
          told += text.toString()
        })
      }
      let isOver = false
      const end = ended.then(() => {
        isOver = true
        return performance.now() - start
      })
      let longest = 0
      let answers = 0
      while (!isOver) {
        const before = performance.now()
        // The kernel asks each time, in whatever state the caches are.
        await statfs(target)
        longest = Math.max(longest, performance.now() - before)
        if (!isOver) answers += 1
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      const total = await end
      times.push(
        `${name.padEnd(44)} ${total.toFixed(0).padStart(6)} ms, others ${answers} times, at most ${longest.toFixed(1)} ms`,
      )
      if (typeof output === 'string') expect(told).toBe(output)
      else expect(told).toMatch(output)
      if (isLong === true) expect(longest).toBeLessThan(total / 2)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})
