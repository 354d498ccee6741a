import { spawn } from 'node:child_process'
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readMountInfo, topMountAt } from '../../src/sys/mounts/mountinfo.ts'
import { needs, titled } from '../library/index.ts'
import { inScene, SILENT } from '../library/scenes/life.ts'

/** What a mount is asked for, from the words to the daemon. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const OCI = join(ROOT, 'fixtures/oci')
const need = needs('root', 'fuse')

/** Sends one line to a daemon as the command does. @returns its answer */
async function askDaemon(line: string): Promise<unknown> {
  const child = spawn(process.execPath, [join(ROOT, 'dist/daemon.js')], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  const channel = child.stdio[3] as Duplex
  channel.write(`${line}\n`)
  return JSON.parse(await text(channel))
}

describe('a daemon', () => {
  test.each([
    ['no JSON', 'mount, please', 'is not JSON'],
    ['a request of another version', '{"source":"a","target":"/b"}', 'source: expected'],
  ])('the daemon answers %s with one clear line', async (_, line, what) => {
    expect(await askDaemon(line)).toEqual({
      code: 'EINVAL',
      error: expect.stringMatching(
        new RegExp(
          `^the daemon does not understand the request of the command \\(${what}.*\\): are two .*\\?$`,
        ),
      ),
    })
  })
})

describe.skipIf(!need.ok)(titled('words after -o of an overlay', need), () => {
  const flagsAt = (target: string) => topMountAt(readMountInfo(), target)?.mountOptions
  test.each([
    ['nosuid,suid', false],
    ['suid,nosuid', true],
    ['nosuid', true],
  ])('the last of the words %s counts for an overlay, as for mount(8)', async (words, isNosuid) => {
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs('overlay', '-o', `lowerdir=${OCI},${words}`, target)).toMatchObject(SILENT)
      expect(flagsAt(target)?.includes('nosuid')).toBe(isNosuid)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })

  test('ro,rw with an upper directory asks for a work directory, and the message names no path that was not given', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const words = `lowerdir=${OCI},upperdir=${join(folder, 'mnt')},ro,rw`
      expect(await atomfs('overlay', '-o', words, target)).toMatchObject({
        status: 1,
        stderr: 'Error: upperdir= needs workdir=DIR, on the same file system\n',
      })
    })
  })
})

describe.skipIf(!need.ok)(titled('the library', need), () => {
  test('the library mounts the tag it was given where OCIDIR:TAG names another layout, too', async () => {
    const { buildMoleculeFromOci } = (await import(
      join(ROOT, 'dist/index.js')
    )) as typeof import('../../src/index.ts')
    await inScene(async ({ folder, target, atomfs, runDir }) => {
      const ociDir = join(folder, 'img')
      cpSync(OCI, ociDir, { recursive: true })
      cpSync(OCI, `${ociDir}:b`, { recursive: true })
      const index = join(ociDir, 'index.json')
      writeFileSync(index, readFileSync(index, 'utf8').replace('"demo"', '"b:demo"'))
      // The other reading, the tag `demo` of `img:b`, is an image without files.
      writeFileSync(join(`${ociDir}:b`, 'index.json'), '{"schemaVersion":2,"manifests":[]}')
      const molecule = buildMoleculeFromOci({ ociDir, tag: 'b:demo', target, metadataDir: runDir })
      expect(await molecule.mount()).toEqual([])
      try {
        expect(existsSync(join(target, 'bin'))).toBe(true)
        const config = JSON.parse(readFileSync(join(molecule.metadataPath(), 'config.json'), 'utf8'))
        expect(config).toMatchObject({ OCIDir: ociDir, Tag: 'b:demo', Target: target })
        const status = JSON.parse((await atomfs('status', '--json', target)).stdout)
        expect(status.source).toBe(`oci:${ociDir}:b:demo`)
      } finally {
        await molecule.umount()
      }
    })
  })
})
