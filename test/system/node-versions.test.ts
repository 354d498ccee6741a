import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  type RunResult,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkInChild,
  withAtomfs,
  withTarget,
  withTempDir,
} from '../library/index.ts'

/**
 * The program under other versions of Node than the one that runs the tests: as they come from the registry. They run
 * its sources, too, because they take the types away themselves.
 */

const VERSIONS = [22, 24]
const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url))
const SOURCES = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const golden = JSON.parse(readFileSync(`${fixtures}/oci.demo.tree.json`, 'utf8')) as TreeEntry[]
const need = needs('root', 'fuse', 'npx')

/** Path of that Node, downloaded where it is not in the cache of npm; undefined where the registry is not reachable. */
async function findNode(version: number): Promise<string | undefined> {
  // Not from within this repository, whose npm settings are its own.
  const folder = makeTempDir()
  try {
    const command = ['-y', '-p', `node@${version}`, 'node', '-p', 'process.execPath']
    const found = await run('npx', command, { timeout: 240_000, cwd: folder, allowFailure: true })
    return found.status === 0 ? found.stdout.trim() : undefined
  } catch {
    return undefined
  } finally {
    removeTempDir(folder)
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

const nodes = new Map<number, string | undefined>()
if (need.ok) for (const version of VERSIONS) nodes.set(version, await findNode(version))

describe.each(VERSIONS)('Node %i', (version) => {
  const node = nodes.get(version)
  const why = !need.ok
    ? need
    : { ok: node !== undefined, missing: [], reason: 'the npm registry is not reachable' }

  test.skipIf(!why.ok)(
    titled('this Node version mounts the bundled image with verification and shows the golden tree', why),
    async () => {
      expect((await run(node!, ['-p', 'process.versions.node'])).stdout).toMatch(new RegExp(`^${version}\\.`))
      // The launcher asks for `node` in PATH; the daemon is started with the Node of its parent.
      expect(basename(node!)).toBe('node')
      const PATH = `${dirname(node!)}:${process.env['PATH']}`
      await withTempDir(async (temp) => {
        const mount = async (source: string, args: readonly string[]): Promise<void> => {
          const actual = await withAtomfs(
            temp,
            source,
            async ({ target, runDir }) => {
              const record = await run('sh', ['-c', 'cat "$0"/meta/*/*/daemon.json', runDir])
              const { pid } = (JSON.parse(record.stdout) as { process: { pid: number } }).process
              expect((await run('readlink', [`/proc/${pid}/exe`])).stdout.trim()).toBe(node)
              return await walkInChild(target, { timeout: 60_000 })
            },
            args,
            { env: { PATH } },
          )
          expect(compareTrees(actual, golden, { ignoreDirectoryNlink: true })).toEqual([])
        }
        await mount(`${fixtures}/oci:demo`, ['--verify=eager'])
        await mount(`${fixtures}/oci:demo-noverity`, ['--allow-missing-verity'])
      })
    },
  )

  test.skipIf(!why.ok)(
    titled('this Node version mounts and verifies from the sources, without a build', why),
    async () => {
      const atomfs = (args: readonly string[], runDir: string): Promise<RunResult> =>
        run(node!, [SOURCES, ...args], { timeout: 120_000, env: { ATOMFS_TEST_RUN_DIR: runDir } })
      await withTempDir(async (temp) => {
        await withTarget(temp, async (target) => {
          const silent = { status: 0, stdout: '', stderr: '' }
          expect(await atomfs(['mount', `${fixtures}/oci:demo`, target], temp)).toMatchObject(silent)
          const actual = await walkInChild(target, { timeout: 60_000 })
          expect(compareTrees(actual, golden, { ignoreDirectoryNlink: true })).toEqual([])
          expect(await atomfs(['umount', target], temp)).toMatchObject(silent)
        })
        const verdicts = (await atomfs(['verify', `${fixtures}/oci:demo`], temp)).stdout
        expect(verdicts.match(/^sha256:\w+: OK$/gm)).toHaveLength(3)
      })
    },
  )

  test.skipIf(!why.ok)(
    titled('this Node version makes images of the same bytes as the one of the tests', why),
    async () => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        mkdirSync(tree)
        buildSourceTree(tree, { size: 'small' })
        const made = async (program: string, compression: string): Promise<readonly [string, string]> => {
          const image = join(temp, 'image')
          const args = [ATOMFS_FUSE, 'pack', tree, image, '--json', '--force', '--compression', compression]
          const { stdout } = await run(program, args)
          return [(JSON.parse(stdout) as { encoder: string }).encoder, sha256(readFileSync(image))]
        }
        for (const compression of ['gzip', 'zstd', 'lz4', 'lz4:9', 'xz:1']) {
          const [encoder, digest] = await made(node!, compression)
          const [ownEncoder, ownDigest] = await made(process.execPath, compression)
          // Where there is no library of the system, each Node has compressors of its own versions.
          if (encoder === ownEncoder) expect([compression, digest]).toEqual([compression, ownDigest])
          else expect(encoder).toMatch(/^node:zlib/)
        }
      })
    },
  )

  test.skipIf(!why.ok)(titled('this Node version finds a codec for every compressor', why), async () => {
    const { stdout } = await run(node!, [ATOMFS_FUSE, 'doctor', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ canMount: true })
    expect((await run(node!, [ATOMFS_FUSE, 'inspect', `${fixtures}/oci:demo`])).stdout).toContain('sha256:')
  })
})
