import { chmodSync, chownSync, mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mountsBelow, needs, type RunResult, run, titled, unmount, withTempDir } from '../library/index.ts'

/** `npm run demo` as a new user runs it, with temporary and runtime folders of its own. */

const ROOT = resolve(import.meta.dirname, '../..')
const DEMO = join(ROOT, 'scripts/demo.sh')
const TIMEOUT = 120_000

const fuse = needs('root', 'fuse')
const namespaces = needs('root', 'fuse', 'userns', 'unshare', 'setpriv')

interface Scene {
  readonly folder: string
  readonly env: { readonly TMPDIR: string; readonly ATOMFS_TEST_RUN_DIR: string; readonly HOME: string }
  /** What the demo left in its temporary folder, and the mounts below it. */
  readonly left: () => readonly string[]
}

async function inScene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const temp = join(folder, 'tmp')
    const runDir = join(folder, 'run')
    for (const path of [temp, runDir]) mkdirSync(path)
    // For the plain users of the tests.
    chmodSync(folder, 0o755)
    const left = () => [
      ...readdirSync(temp),
      ...readdirSync(runDir, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.json')),
      ...mountsBelow(folder),
    ]
    try {
      const env = { TMPDIR: temp, ATOMFS_TEST_RUN_DIR: runDir, HOME: folder }
      await play({ folder, env, left })
    } finally {
      for (const point of mountsBelow(folder).toReversed()) await unmount(point)
    }
  })
}

/** The commands that were shown, without the path of the mount. */
function commandsOf({ stdout }: RunResult): string[] {
  const lines = stdout.split('\n').filter((line) => line.startsWith('$ '))
  return lines.map((line) => line.slice(2).replace(/\S+\/atomfs-demo\.\w+\/tree/, 'TREE'))
}

const STEPS = [
  './bin/atomfs-fuse inspect fixtures/oci:demo',
  './bin/atomfs-fuse mount fixtures/oci:demo TREE',
  'ls -lnR TREE',
  'cat TREE/etc/demo.conf',
  './bin/atomfs-fuse verify TREE',
  './bin/atomfs-fuse status TREE',
  './bin/atomfs-fuse umount TREE',
  'ls -lA TREE',
]

function expectDemo(result: RunResult): void {
  expect(`${result.status} ${result.stderr}`).toBe('0 ')
  expect(commandsOf(result).filter((line) => line !== 'sh scripts/setup.sh')).toEqual(STEPS)
  const { stdout } = result
  // A file of the middle layer over one of the bottom layer, a whiteout, an opaque directory.
  expect(stdout).toMatch(/^greeting = hello from the middle layer$/m)
  expect(stdout).toMatch(/ three\.conf$/m)
  expect(stdout).not.toMatch(/ two\.conf$/m)
  expect(stdout).not.toMatch(/ stale$/m)
  expect(stdout.match(/^sha256:[0-9a-f]+: OK$/gm)).toHaveLength(3)
  expect(stdout).toMatch(/^total 0\n\nIt works\. Go on with README\.md\.\n$/m)
}

describe('the demo', () => {
  test.skipIf(!fuse.ok)(titled('the demo runs as root from another directory', fuse), async () => {
    await inScene(async ({ folder, env, left }) => {
      expectDemo(await run('sh', [DEMO], { cwd: folder, env, timeout: TIMEOUT, allowFailure: true }))
      expect(left()).toEqual([])
    })
  })

  test.skipIf(!namespaces.ok).each([
    // fusermount3 refuses users that have no name.
    ['in a user namespace', 54_321, true],
    ['through fusermount3', 65_534, !needs('fusermount3').ok],
  ])(titled('the demo runs as a plain user, %s', namespaces), async (_, uid, inNamespace) => {
    await inScene(async ({ folder, env, left }) => {
      for (const path of [env.TMPDIR, env.ATOMFS_TEST_RUN_DIR]) chownSync(path, uid, uid)
      // The device may be closed to users on this machine: a mount namespace gets one that is not.
      const script = `
        set -e
        mknod -m 0666 "$1/fuse" c 10 229
        mount --bind "$1/fuse" /dev/fuse
        exec setpriv --reuid=${uid} --regid=${uid} --clear-groups sh "$0"`
      const args = ['-m', 'sh', '-c', script, DEMO, folder]
      const result = await run('unshare', args, { env, timeout: TIMEOUT, allowFailure: true })
      expectDemo(result)
      expect(result.stdout.includes('going on in a user namespace')).toBe(inNamespace)
      expect(left()).toEqual([])
    })
  })

  test.skipIf(!namespaces.ok)(
    titled('the demo explains why if no mount is possible', namespaces),
    async () => {
      await inScene(async ({ env, left }) => {
        const script = 'mount --bind /dev/null /dev/fuse && exec sh "$0"'
        const result = await run('unshare', ['-m', 'sh', '-c', script, DEMO], {
          env,
          timeout: TIMEOUT,
          allowFailure: true,
        })
        expect(result.status).toBe(1)
        expect(result.stdout).toMatch(/^trial mount +fail +\S/m)
        expect(result.stderr).toMatch(/^demo: this machine has no way to mount yet/m)
        expect(left()).toEqual([])
      })
    },
  )

  test.skipIf(!fuse.ok)(titled('the demo leaves nothing behind if it is interrupted', fuse), async () => {
    await inScene(async ({ folder, env, left }) => {
      // cat ends the demo at the moment when the image is mounted.
      const bin = join(folder, 'bin')
      mkdirSync(bin)
      await run('sh', [
        '-c',
        'printf "#!/bin/sh\\nkill -TERM \\$PPID\\n" >"$0/cat" && chmod 755 "$0/cat"',
        bin,
      ])
      const result = await run('sh', [DEMO], {
        env: { ...env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
        timeout: TIMEOUT,
        allowFailure: true,
      })
      expect(result.status).toBe(143)
      expect(commandsOf(result)).toContain('cat TREE/etc/demo.conf')
      expect(commandsOf(result)).not.toContain('./bin/atomfs-fuse umount TREE')
      expect(left()).toEqual([])
    })
  })
})
