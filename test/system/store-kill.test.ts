import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRAME_MAX } from '../../src/codecs/frames/index.ts'
import { withField } from '../library/images/tar-special.ts'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  makeTempDir,
  needs,
  Random,
  removeTempDir,
  tarEnd,
  tarEntry,
  titled,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'
import { filtered } from '../tar/blob-forms.ts'

/** Layers that are converted into the store, because they cannot be entered: and those who do it are killed. */

const need = needs('root', 'fuse', 'xz', 'bzip2', 'zstd')
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
const KILLS = Number(process.env['ATOMFS_CRASHES'] ?? (IS_LONG ? 100 : 2))
const SEED = Number(process.env['ATOMFS_SEED'] ?? 5)
/** Bytes of the file in each layer. */
const SIZE = IS_LONG ? 24 << 20 : 1 << 20
/** Longer than the window and than all blocks: a frame of one piece. */
const LONG_FRAME = IS_LONG ? 400 << 20 : 33 << 20

const SIZE_AT = 124
const FILE = { type: 'file', mode: 0o640, uid: 3, mtime: 1_000_000_000 } as const
const random = new Random(SEED)
const temp = makeTempDir()
const source = `${join(temp, 'image')}:t`

/** Zeros behind the end of an archive count as much as any other bytes: a frame of zstd with them cannot be entered. */
function archive(path: string, content: Buffer): Buffer {
  const end = path === 'zstd' ? Buffer.alloc(FRAME_MAX) : tarEnd()
  return Buffer.concat([tarEntry({ ...FILE, path, content: content.toString('latin1') }), end])
}

const FORMS = {
  xz: ['xz', ['-0', '-c']],
  bzip2: ['bzip2', ['-1', '-c']],
  zstd: ['zstd', ['-q', '-1', '-c']],
} as const
const contents = Object.keys(FORMS).map((name) => [name, random.text(SIZE)] as const)

beforeAll(() => {
  if (!need.ok) return
  let next = 0
  const compress = (bytes: Buffer): Buffer => {
    const [program, args] = Object.values(FORMS)[next++]!
    return filtered(program, args, bytes)
  }
  writeTarImage(join(temp, 'image'), {
    tag: 't',
    layers: contents.map(([name, content]) => archive(name, Buffer.from(content))),
    compress,
  })
})
afterAll(() => removeTempDir(temp))

const namesIn = (store: string): string[] => {
  const folder = join(store, 'layers/sha256')
  return existsSync(folder) ? readdirSync(folder) : []
}

describe.skipIf(!need.ok)(titled('layers that are converted into the store', need), () => {
  test(
    `are whole or absent where the program is killed: ${KILLS} times, seed ${SEED}`,
    async () => {
      let [half, unfinished] = [0, 0]
      const start = performance.now()
      await atomfsFuse(['ls', '--store', join(temp, 'first'), source, '/'])
      const whole = performance.now() - start
      for (let round = 0; round < KILLS; round++) {
        const store = join(temp, `store-${round}`)
        const child = spawn(ATOMFS_FUSE, ['ls', '--store', store, source, '/'], {
          stdio: 'ignore',
          detached: true,
        })
        const ended = once(child, 'exit')
        await sleep(random.int(0, whole))
        try {
          // All of its processes.
          process.kill(-child.pid!, 'SIGKILL')
        } catch {
          // It had ended.
        }
        await ended
        const left = namesIn(store)
        if (left.some((name) => !name.endsWith('.squashfs'))) unfinished += 1
        if (left.length > 0 && left.filter((name) => name.endsWith('.squashfs')).length < 3) half += 1
        // Some are cleaned up by `store gc`, the others by the next start.
        if (round % 2 === 0) {
          await atomfsFuse(['store', 'gc', '--store', store])
          expect(
            namesIn(store).filter((name) => !/^[0-9a-f]{64}(-[0-9a-f]+)?\.squashfs$/.test(name)),
          ).toEqual([])
        }
        const { stdout } = await atomfsFuse(['ls', '--store', store, source, '/'])
        expect(stdout.split('\n').filter((line) => line !== '')).toHaveLength(3)
        expect(namesIn(store).filter((name) => !/^[0-9a-f]{64}(-[0-9a-f]+)?\.squashfs$/.test(name))).toEqual(
          [],
        )
        expect(namesIn(store)).toHaveLength(3)
        if (!IS_LONG && round < KILLS - 1) continue
        const verified = await atomfsFuse(['store', 'verify', '--store', store])
        expect(verified.stdout.match(/OK/g)).toHaveLength(3)
      }
      if (IS_LONG) console.log(`${half} of ${KILLS} were killed between layers, ${unfinished} left something`)
    },
    60_000 + KILLS * 20_000,
  )

  test('show what the archives have', async () => {
    const args = ['--store', join(temp, 'first')]
    await withAtomfs(
      temp,
      source,
      ({ target }) => {
        for (const [name, content] of contents) {
          expect(readFileSync(join(target, name), 'latin1') === content.toString('latin1'), name).toBe(true)
        }
      },
      args,
    )
  })

  test(
    'may be one long frame of zstd',
    async () => {
      const piece = random.bytes(1 << 20)
      // Matches far back, holes, and what cannot be compressed.
      const content = Buffer.concat(
        Array.from({ length: LONG_FRAME >> 20 }, (_, i) =>
          i % 8 === 0 ? piece : i % 8 === 1 ? random.bytes(1 << 20) : Buffer.alloc(1 << 20),
        ),
      )
      const size = content.length.toString(8).padStart(11, '0')
      const image = join(temp, 'frame')
      writeTarImage(image, {
        tag: 't',
        layers: [
          Buffer.concat([withField(tarEntry({ ...FILE, path: 'f' }), SIZE_AT, size), content, tarEnd()]),
        ],
        compress: (bytes) => filtered('zstd', ['-q', '-3', '--long=27', '-c'], bytes),
      })
      await withAtomfs(
        temp,
        `${image}:t`,
        ({ target }) => {
          expect(readFileSync(join(target, 'f')).equals(content)).toBe(true)
        },
        ['--store', join(temp, 'frame-store')],
      )
      expect(namesIn(join(temp, 'frame-store')).map((name) => name.slice(64))).toEqual(['.squashfs'])
    },
    IS_LONG ? 600_000 : 60_000,
  )
})
