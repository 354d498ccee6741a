import { mkdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  buildLayers,
  compareTrees,
  findProgram,
  needs,
  run,
  titled,
  walkTree,
  withTempDir,
} from '../library/index.ts'

test('run returns output and status, and fails if the status is not 0', async () => {
  const result = await run('sh', ['-c', 'cat; echo err >&2; exit 3'], { input: 'in', allowFailure: true })
  expect(result).toMatchObject({ status: 3, stdout: 'in', stderr: 'err\n' })
  await expect(run('sh', ['-c', 'echo why >&2; exit 1'])).rejects.toThrow(/status 1: why$/)
  await expect(run('no-such-program', [])).rejects.toThrow('ENOENT')
})

test('run ends a child that exceeds its time limit', async () => {
  await expect(run('sh', ['-c', 'echo $$ >&2; exec sleep 1000'], { timeout: 200 })).rejects.toThrow(
    /no end after 200 ms/,
  )
})

test('needs names the requirement that is missing', () => {
  expect(needs('sh')).toEqual({ ok: true, missing: [], reason: '' })
  const need = needs('sh', 'no-such-program')
  expect(need).toEqual({ ok: false, missing: ['no-such-program'], reason: 'needs no-such-program' })
  expect(titled('mounts', need)).toBe('mounts (skipped: needs no-such-program)')
  expect(findProgram('sh')).toMatch(/^\/.*\/sh$/)
})

const root = needs('root')

test.skipIf(!root.ok)(
  titled('random layers are the same for a seed, and hold every kind of change', root),
  async () => {
    await withTempDir((temp) => {
      const kinds = new Set<string>()
      for (let seed = 1; seed <= 6; seed += 1) {
        const form = seed % 2 === 0 ? 'user' : 'trusted'
        for (const name of ['a', 'b']) mkdirSync(`${temp}/${seed}${name}`)
        const first = buildLayers(`${temp}/${seed}a`, { seed, form })
        const second = buildLayers(`${temp}/${seed}b`, { seed, form })
        expect(first.length).toBeGreaterThanOrEqual(2)
        expect(first.length).toBeLessThanOrEqual(8)
        first.forEach((directory, i) => {
          const entries = walkTree(directory)
          expect(compareTrees(entries, walkTree(second[i]!))).toEqual([])
          for (const entry of entries) {
            kinds.add(entry.rdev === '0:0' ? 'whiteout' : entry.type)
            if (entry.linkGroup) kinds.add('hard link')
            if (entry.xattrs?.[`${form}.overlay.opaque`]) kinds.add(`opaque ${form}`)
          }
        })
      }
      const wanted = [
        'whiteout',
        'directory',
        'file',
        'symlink',
        'fifo',
        'hard link',
        'opaque user',
        'opaque trusted',
      ]
      for (const kind of wanted) expect(kinds).toContain(kind)
    })
  },
)
