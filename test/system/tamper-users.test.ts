import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  inScene,
  judge,
  makeVerifiedImage,
  NO_LIMITS,
  readerProgram,
  type Scene,
  type Survey,
  type VerifiedImage,
} from '../hostile/index.ts'
import { ATOMFS_FUSE, makeTempDir, needs, Random, removeTempDir, run, titled } from '../library/index.ts'

/** Verification does not depend on who mounts: root, root of a user namespace, or a plain user. */

const need = needs('root', 'fuse', 'mksquashfs', 'veritysetup', 'unshare', 'setpriv', 'userns')
const helper = needs('fusermount3')
const PLAIN_USER = 65_534

/** How a script is run as each of them; the script and its arguments follow. */
const USERS: Readonly<Record<string, readonly string[]>> = {
  root: [],
  'root of a user namespace': ['unshare', '-Urm'],
  ...(helper.ok ? { 'a plain user': [] } : {}),
}

let temp = ''
let image: VerifiedImage
let program = ''

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  // The others read the image too.
  chmodSync(temp, 0o755)
  image = await makeVerifiedImage(temp)
  program = await readerProgram()
})

afterAll(() => {
  if (temp !== '') removeTempDir(temp)
})

interface Sight {
  /** What `mount` said; empty where it mounted. */
  readonly refusal: string
  readonly found: Survey | undefined
}

/** Mounts, surveys and unmounts in a mount namespace of its own, so that the device can be opened to everybody. */
async function look(scene: Scene, user: string, mode: string, known: readonly string[]): Promise<Sight> {
  const device = join(scene.folder, 'fuse')
  const enter =
    user === 'root' ? [] : ['setpriv', `--reuid=${PLAIN_USER}`, `--regid=${PLAIN_USER}`, '--clear-groups']
  const script = `
    "$0" mount --verify=${mode} "$1" "$2" || exit 0
    "$3" "$4"
    "$0" umount "$2"`
  const openDevice = `
    set -e
    [ -e "$0" ] || mknod -m 0666 "$0" c 10 229
    mount --bind "$0" /dev/fuse
    exec "$@"`
  const command = [
    ...enter,
    ...(USERS[user] ?? []),
    'sh',
    '-c',
    script,
    ATOMFS_FUSE,
    image.source,
    scene.target,
  ]
  const { stdout, stderr } = await run(
    'unshare',
    ['-m', 'sh', '-c', openDevice, device, ...command, process.execPath, program],
    {
      env: { ATOMFS_TEST_RUN_DIR: scene.runDir, HOME: scene.folder },
      input: `${JSON.stringify({ root: scene.target, known, limits: NO_LIMITS })}\n`,
    },
  )
  expect(scene.entries()).toEqual([])
  return { refusal: stderr, found: stdout === '' ? undefined : (JSON.parse(stdout) as Survey) }
}

async function inSceneOf<T>(user: string, play: (scene: Scene) => Promise<T>): Promise<T> {
  return await inScene(temp, async (scene) => {
    chmodSync(scene.folder, 0o755)
    mkdirSync(scene.runDir)
    if (user !== 'root')
      for (const path of [scene.target, scene.runDir]) chownSync(path, PLAIN_USER, PLAIN_USER)
    return await play(scene)
  })
}

function change(path: string, position: number): void {
  const byte = readFileSync(path).subarray(position, position + 1)
  const fd = openSync(path, 'r+')
  try {
    writeSync(fd, Buffer.of(byte[0]! ^ 0x20), 0, 1, position)
  } finally {
    closeSync(fd)
  }
}

describe.skipIf(!need.ok)(titled('tampered images for other users', need), () => {
  test.each(Object.keys(USERS))('the verdicts on tampered images are the same for %s', async (user) => {
    const random = new Random(99)
    await inSceneOf(user, async (scene) => {
      const golden = (await look(scene, user, 'lazy', [])).found!
      expect(JSON.stringify(golden)).not.toContain('"!EIO')
      expect(Object.keys(golden.items).length).toBeGreaterThan(450)
      const verdicts: unknown[] = []
      for (const layer of image.layers) {
        for (const name of ['data', 'directories', 'tables', 'hash tree']) {
          const region = layer.regions.find((one) => one.name === name)!
          const position = random.int(region.start, region.end - 1)
          change(layer.path, position)
          try {
            const mode = name === 'tables' ? 'auto' : 'lazy'
            const sight = await look(scene, user, mode, Object.keys(golden.items))
            expect(sight.refusal).toMatch(/^(?:Error: [^\n]+\n)?$/)
            const verdict = sight.found === undefined ? undefined : judge(sight.found, golden)
            expect(verdict?.wrong ?? []).toEqual([])
            verdicts.push({ refusal: sight.refusal, refused: verdict?.refused })
          } finally {
            change(layer.path, position)
          }
        }
      }
      expect(JSON.stringify(verdicts)).toMatch(/Error: .*expected/)
      expect(JSON.stringify(verdicts)).toContain('content of')
      // The first one in this list is root.
      reference ??= verdicts
      expect(verdicts).toEqual(reference)
    })
  })
})

let reference: readonly unknown[] | undefined
