import { mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTempDir, needs, removeTempDir, run, titled, withTarget } from '../library/index.ts'

/** The single executable of scripts/sea.mjs. Making it takes half a minute and 170 MB, so it is made on request only. */

const ROOT = resolve(import.meta.dirname, '../..')
const node = process.env['ATOMFS_SEA_NODE']
const machine = needs('root', 'fuse')
const need =
  node === undefined
    ? { ok: false, missing: ['node'], reason: 'needs a Node 25.5 or later in ATOMFS_SEA_NODE' }
    : machine

describe.skipIf(!need.ok)(titled('the single executable', need), () => {
  const temp = makeTempDir()
  const program = join(temp, 'single')
  const env = {
    ATOMFS_TEST_RUN_DIR: join(temp, 'run'),
    XDG_CACHE_HOME: join(temp, 'cache'),
  }
  const start = (args: readonly string[], more: Readonly<Record<string, string>> = {}) =>
    run(program, args, { env: { ...env, ...more } })

  beforeAll(async () => {
    for (const name of ['run', 'cache', 'links']) mkdirSync(join(temp, name), { mode: 0o700 })
    await run(process.execPath, ['scripts/sea.mjs', node!, program], { cwd: ROOT, timeout: 200_000 })
  })
  afterAll(() => removeTempDir(temp))

  test('it mounts, in the background too, and ends', async () => {
    await withTarget(temp, async (target) => {
      const result = await start(['mount', `${ROOT}/fixtures/oci:demo`, target])
      expect(result).toMatchObject({ stdout: '', stderr: '' })
      try {
        expect(readdirSync(target)).toContain('etc')
        expect((await start(['verify', target])).stdout).toMatch(/^(sha256:\w+: OK\n){3}$/)
      } finally {
        await start(['umount', target])
      }
      expect(readdirSync(target)).toEqual([])
    })
  })

  test('it verifies with threads', async () => {
    expect((await start(['verify', `${ROOT}/fixtures/oci:demo`])).stdout).toMatch(/: OK\n/)
  })

  test('it goes by the name of a link', async () => {
    const link = join(temp, 'links', 'fuse-overlayfs')
    symlinkSync(program, link)
    expect((await run(link, ['--version'], { env })).stdout).toMatch(/^fuse-overlayfs: version /)
  })

  test('it loads no code that its caller names', async () => {
    const { stderr } = await start(['--version'], { NODE_OPTIONS: '--require=/nothing' })
    expect(stderr).toBe('')
  })
})
