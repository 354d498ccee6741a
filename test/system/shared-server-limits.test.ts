import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, removeTempDir, run } from '../library/index.ts'
import { entries, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'
import { type SharedScene, withShared } from '../library/scenes/shared.ts'

/** Limits of the process that asks are those of its server, and must not become those of somebody else's mount. */

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

/** Mounts in a shell that has set a limit. Where the test may set hard limits at will, the server may, too. */
async function mountAt({ target, env }: SharedScene, limit: string, name: string): Promise<string> {
  const place = target(name)
  const script = `ulimit ${limit}; exec "$0" mount "$1" "$2"`
  const { status, stdout, stderr } = await run('bash', ['-c', script, ATOMFS_FUSE, life.image, place], {
    env,
  })
  expect({ status, stdout, stderr }).toEqual(SILENT)
  expect((await run('cat', [join(place, 'etc/motd')])).stdout).toBe('hello\n')
  return place
}

describe('a shared server', () => {
  test('serves those who have its limits', async () => {
    await withShared(async (scene) => {
      const free = await scene.pidOf(await scene.mount(life.image, 'free'))
      for (const limit of ['-f 1000', '-v 64000000']) {
        const bound = await scene.pidOf(await mountAt(scene, limit, `bound${limit}`))
        expect(bound).not.toBe(free)
        expect(scene.servers()).toContain(bound)
      }
      expect(await scene.pidOf(await scene.mount(life.image, 'again'))).toBe(free)
    })
  })

  test('is not started by who may open few files', async () => {
    await withShared(async (scene) => {
      const place = await mountAt(scene, '-n 128', 'few')
      expect(scene.servers()).toEqual([])
      expect(await scene.atomfs('umount', place)).toMatchObject(SILENT)
      expect(entries(scene.runDir)).toEqual([])
    })
  })

  test('that has no descriptor left is helped out by own ones, and nothing stays', {
    timeout: 240_000,
  }, async () => {
    await withShared(async (scene) => {
      const places: string[] = []
      for (let i = 0; i < 45; i++) places.push(await mountAt(scene, '-n 256', `m${i}`))
      const [server = 0, ...others] = scene.servers()
      expect(others).toEqual([])
      // Whoever has CAP_SYS_RESOURCE raised it.
      const isBound = /^Max open files +256 +256 /m.test(readFileSync(`/proc/${server}/limits`, 'utf8'))
      expect((await scene.pidOf(places.at(-1) ?? '')) === server).toBe(!isBound)
      for (const place of places) expect(await scene.atomfs('umount', place)).toMatchObject(SILENT)
      expect(entries(scene.runDir)).toEqual([])
      // It serves again.
      expect(await scene.pidOf(await mountAt(scene, '-n 256', 'last'))).toBe(server)
      expect(existsSync(`/proc/${server}`)).toBe(true)
      expect(readdirSync(scene.target('last'))).toContain('etc')
    })
  })
})
