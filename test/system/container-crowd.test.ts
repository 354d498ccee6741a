import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, makeTempDir, needs, Random, removeTempDir, titled } from '../library/index.ts'
import {
  asCaller,
  type CallerMode,
  type ContainerImage,
  MODES,
  makeTarContainerImage,
  placeOf,
  runAs,
} from '../library/scenes/containers.ts'

const need = needs(
  ...['root', 'fuse', 'tar', 'busybox', 'setpriv', 'unshare', 'fusermount3', 'userns-of-users'],
  ...['crun', 'runc', 'newuidmap', 'python3'],
)
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
/** Containers at once. */
const CROWD = IS_LONG ? 30 : 3
/** Moments at which everything is killed. */
const KILLS = Number(process.env['ATOMFS_CRASHES'] ?? (IS_LONG ? 100 : 2))
const SEED = Number(process.env['ATOMFS_SEED'] ?? 5)

let image: ContainerImage
let folder: string
beforeAll(async () => {
  if (!need.ok) return
  folder = makeTempDir()
  image = await makeTarContainerImage(folder, 8 << 20)
})
afterAll(() => {
  if (folder !== undefined) removeTempDir(folder)
})

const indexes = (store: string): string[] => {
  const layers = join(store, 'layers/sha256')
  return existsSync(layers) ? readdirSync(layers).map((name) => name.replace(/^[0-9a-f]{64}/, 'DIGEST')) : []
}

describe.skipIf(!need.ok)(titled('containers of an image of tar layers', need), () => {
  test.each(IS_LONG ? MODES : (['namespace-many'] as const))('run as %s', async (mode) => {
    const words = ['--', 'sh', '-c', 'id -u; touch /x; stat -c "%u:%g" /x /home/app; exit 7']
    const runtimes = IS_LONG ? ['crun', 'runc'] : ['crun']
    for (const runtime of runtimes) {
      const found = await runAs(image, mode, words, { runtime, allowFailure: true })
      const home = mode.endsWith('-one') ? '0:0' : '1000:1000'
      expect(found).toMatchObject({ status: 7, stdout: `0\n0:0\n${home}\n`, stderr: '' })
    }
  })

  test(`${CROWD} at once have one store, and each its own changes and status`, async () => {
    const place = placeOf(folder, 'user-one')
    const store = join(place, 'crowd')
    const script = [
      `for i in $(seq ${CROWD}); do`,
      `  ( "$@" -- sh -c "echo $i >/mine; sleep 0.3; cat /mine; exit $i" >out-$i 2>err-$i; echo $? >status-$i ) &`,
      'done; wait',
      'grep -c fuse.atomfs-fuse /proc/self/mountinfo || true; ls run/bundles',
    ].join('\n')
    const words = ['sh', '-c', script, 'sh', ATOMFS_FUSE, 'run', '--runtime', 'crun', '--store', store]
    const { stdout } = await asCaller(image, 'user-one', [...words, image.source], { timeout: 240_000 })
    expect(stdout).toBe('0\n')
    const all = Array.from({ length: CROWD }, (_, i) => i + 1)
    const read = (name: string): string[] => all.map((i) => readFileSync(join(place, `${name}-${i}`), 'utf8'))
    expect(read('err').join('')).toBe('')
    expect(read('out')).toEqual(all.map((i) => `${i}\n`))
    expect(read('status')).toEqual(all.map((i) => `${i}\n`))
    expect(indexes(store)).toEqual(['DIGEST.idx'])
  })

  const cases: readonly [CallerMode, string, string][] = [
    ['user-one', 'crun', 'setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all'],
    ['root', 'runc', ''],
  ]
  test.each(IS_LONG ? cases : cases.slice(0, 1))(
    `what a kill of everything leaves goes away with the next start: as %s with %s, ${KILLS} times, seed ${SEED}`,
    async (mode, runtime, user) => {
      const place = placeOf(folder, mode)
      const store = join(place, 'killed')
      const random = new Random(SEED)
      const start = performance.now()
      await runAs(image, mode, ['--', 'true'], { runtime })
      // Two at once, and some time in which they have started.
      const most = Math.round((performance.now() - start) * 2)
      const moments = Array.from({ length: KILLS }, () => (random.int(0, most) / 1000).toFixed(3)).join(' ')
      const run = `${user} ${ATOMFS_FUSE} run --runtime ${runtime} --store ${store} ${image.source} -- sh -c`
      const inside = 'echo started; dd if=/dev/zero of=/big bs=64k count=50 2>/dev/null; sleep 100'
      // All in one mount namespace: what is mounted stays until somebody removes it. The processes are in one of their own.
      const script = [
        'started=0',
        `for moment in ${moments}; do`,
        `  rm -rf ${store}`,
        // Runtimes look for their processes in /proc, which has to be of the same namespace.
        `  unshare -p -f --kill-child sh -c 'mount -t proc proc /proc; ${run} "$0" & ${run} "$0" & wait' '${inside}' >out 2>/dev/null &`,
        '  sleep $moment; kill -9 $!; wait $! 2>/dev/null || true',
        // umount(8) needs /proc itself.
        `  for i in 1 2 3; do [ -e /proc/self/stat ] || python3 -c 'import ctypes; ctypes.CDLL(None).umount2(b"/proc", 2)'; done`,
        '  started=$((started + $(grep -c started out || true)))',
        `  ${user} ${ATOMFS_FUSE} store gc --store ${store} >/dev/null`,
        `  ls ${store}/layers/sha256 2>/dev/null | grep -v '^[0-9a-f]*\\.idx$' || true`,
        `  next=$(${run} 'echo next' 2>err) || true`,
        '  [ "$next" = next ] || { echo "after $moment: $next"; cat err; }',
        '  grep fuse.atomfs-fuse /proc/self/mountinfo || true',
        '  ls run/bundles; find . -path "./atomfs-run-*" || true',
        'done; echo $started >started',
      ].join('\n')
      const { stdout } = await asCaller(image, 'root', ['sh', '-c', script], {
        ...{ cwd: place, timeout: 20_000 + KILLS * 20_000 },
        env: {
          ...{ HOME: place, TMPDIR: place, ATOMFS_TEST_RUN_DIR: join(place, 'run'), XDG_RUNTIME_DIR: place },
          CRUN_CGROUP: runtime === 'crun' ? '1' : '',
        },
      })
      expect(stdout).toBe('')
      expect(indexes(store)).toEqual(['DIGEST.idx'])
      if (IS_LONG)
        console.log(`${readFileSync(join(place, 'started'), 'utf8').trim()} containers had started`)
    },
    60_000 + KILLS * 21_000,
  )
})
