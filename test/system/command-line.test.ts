import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ATOMFS_FUSE, daemonPid, needs, removeTempDir, run, titled } from '../support/index.ts'
import { inScene, type LifeImage, makeLifeImage, SILENT } from './life-scene.ts'

/** What the caller hands to a mount beside an image: its environment, its options, its words. */

const need = needs('root', 'fuse', 'mksquashfs')

let life: LifeImage
beforeAll(async () => {
  if (need.ok) life = await makeLifeImage()
})
afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

describe.skipIf(!need.ok)(titled('the environment of a daemon', need), () => {
  it('holds what is listed, and nothing that decides what code is loaded', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      const env = {
        ATOMFS_TEST_RUN_DIR: runDir,
        TZ: 'UTC',
        LC_TIME: 'C',
        NODE_OPTIONS: '--no-deprecation',
        NODE_PATH: '/nowhere',
        NODE_EXTRA_CA_CERTS: '/dev/null',
        LD_LIBRARY_PATH: '/nowhere',
        LD_PRELOAD: '',
        NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/driver.node',
        SECRET: 'x',
      }
      expect(await run(ATOMFS_FUSE, ['mount', life.image, target], { env })).toMatchObject(SILENT)
      const text = readFileSync(`/proc/${daemonPid(runDir)}/environ`, 'utf8')
      const names = text.split('\0').map((entry) => entry.split('=')[0] ?? '')
      expect(names).toEqual(expect.arrayContaining(['ATOMFS_TEST_RUN_DIR', 'TZ', 'LC_TIME', 'PATH']))
      expect(names.filter((name) => /^(NODE_|LD_|NAPI_|SECRET)/.test(name))).toEqual([])
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})
