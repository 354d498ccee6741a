import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, makeTempDir, needs, removeTempDir, titled } from '../library/index.ts'
import {
  asCaller,
  type CallerMode,
  type ContainerImage,
  MODES,
  makeContainerImage,
  placeOf,
  runAs,
} from '../library/scenes/containers.ts'

const base = needs(
  'root',
  'fuse',
  'mksquashfs',
  'busybox',
  'setpriv',
  'unshare',
  'fusermount3',
  'userns-of-users',
)
const need = needs('crun', 'runc', 'newuidmap')
const ready = {
  ok: base.ok && need.ok,
  missing: [],
  reason: [base.reason, need.reason].filter(Boolean).join(', '),
}

let image: ContainerImage
let folder: string
beforeAll(async () => {
  if (!ready.ok) return
  folder = makeTempDir()
  image = await makeContainerImage(folder)
}, 60_000)
afterAll(() => {
  if (folder !== undefined) removeTempDir(folder)
})

/** What `run` leaves in the folder of a caller. */
function remains(mode: CallerMode): string[] {
  const place = placeOf(folder, mode)
  const bundles = join(place, 'run', 'bundles')
  const entries = existsSync(bundles) ? readdirSync(bundles) : []
  return [...readdirSync(place).filter((name) => name.startsWith('atomfs-run')), ...entries]
}

describe.skipIf(!ready.ok)(titled('containers', ready), () => {
  const script = 'id; touch /x; stat -c "%n %u:%g" /x /home/app; exit 7'

  describe.each(MODES)('of %s', (mode) => {
    test.each(['crun', 'runc'])(
      '%s runs a program with the owners of the image, and hands its status on',
      async (runtime) => {
        const options = { runtime, allowFailure: true }
        const { status, stdout, stderr } = await runAs(image, mode, ['--', 'sh', '-c', script], options)
        expect({ status, stderr }).toEqual({ status: 7, stderr: '' })
        const home = mode.endsWith('-one') ? '0:0' : '1000:1000'
        expect(stdout).toMatch(/^uid=0\(root\) gid=0\(root\)/)
        expect(stdout).toContain(`/x 0:0\n/home/app ${home}\n`)
        expect(remains(mode)).toEqual([])
      },
    )

    test('a user of the image runs the program, or is refused where it cannot exist', async () => {
      const words = ['--user', 'app', '--', 'sh', '-c', 'id -u; pwd; echo $HOME; touch /home/app/x; touch /x']
      const { status, stdout, stderr } = await runAs(image, mode, words, { allowFailure: true })
      expect(status).toBe(1)
      if (mode.endsWith('-one'))
        expect(stderr).toMatch(/^Error: .*its program is for user 1000:1000, and .*--user 0/)
      else {
        expect(stdout).toBe('1000\n/\n/home/app\n')
        expect(stderr).toBe('touch: /x: Permission denied\n')
      }
      expect(remains(mode)).toEqual([])
    })
  })

  test('the container cannot change a read-only root, and what is mounted in it shows there', async () => {
    const outside = join(placeOf(folder, 'user-one'), 'shared')
    mkdirSync(outside, { recursive: true, mode: 0o777 })
    writeFileSync(join(outside, 'file'), 'of the host\n', { mode: 0o644 })
    const script =
      'cat /in/file; touch /in/new; cat /data/there; touch /x; touch /tmp2/y && ls /tmp2; mkdir /proc/x'
    const words = [
      '--read-only',
      '--mount',
      `${outside}:/in:ro`,
      '--mount',
      'type=tmpfs,target=/tmp2,size=64K',
    ]
    for (const runtime of ['crun', 'runc']) {
      const options = { runtime, allowFailure: true }
      const { stdout, stderr } = await runAs(image, 'user-one', [...words, '--', 'sh', '-c', script], options)
      expect(stdout).toBe('of the host\nof the image\ny\n')
      expect(stderr).toContain('touch: /in/new: Read-only file system\n')
      expect(stderr).toContain('touch: /x: Read-only file system\n')
    }
    expect(readdirSync(outside)).toEqual(['file'])
    expect(remains('user-one')).toEqual([])
  })

  test('changes end at their bound, and what is removed makes room again', async () => {
    const script = [
      // The kernel tells some time after the last close that a removed file is gone.
      'room() { i=0; until dd if=/dev/zero of=$1 bs=64k count=$2 2>/dev/null; do [ $((i += 1)) -lt 100 ] || return; sleep 0.1; done; echo room; }',
      'dd if=/dev/zero of=/a bs=64k count=64 2>&1 | grep -q "No space left" && echo full',
      'df -k / | tail -n 1 | while read a b c d; do echo $a $c; done',
      'rm /a; room /b 8',
      // What has no name any more counts as long as it is open.
      'exec 3>/c; rm /c; dd if=/dev/zero bs=64k count=64 2>/dev/null >&3 || echo full; exec 3>&-',
      'room /d 4',
    ].join('\n')
    for (const mode of ['root', 'user-one'] as const) {
      const { stdout, stderr } = await runAs(image, mode, ['--size', '1M', '--', 'sh', '-c', script])
      expect({ stdout, stderr }).toEqual({ stdout: expect.any(String), stderr: '' })
      expect(stdout).toMatch(/^full\n1024 \d{1,2}\nroom\nfull\nroom\n$/)
    }
  })

  test('an environment, a directory and a name are those that were asked for', async () => {
    const words = [
      '--env',
      'A=b c',
      '--env',
      'FROM_HERE',
      '--workdir',
      '/tmp',
      '--hostname',
      'there',
      '--entrypoint',
      'sh',
    ]
    const script = 'echo $A $FROM_HERE $HOME $PATH; pwd; hostname'
    const { stdout } = await runAs(image, 'user-one', [...words, '--', '-c', script], {
      env: { FROM_HERE: 'yes' },
    })
    expect(stdout).toBe('b c yes /root /bin\n/tmp\nthere\n')
  })

  test('standard streams that are files keep their owner', async () => {
    const place = placeOf(folder, 'root')
    const script = `"$@" -- sh -c 'cat; echo err >&2' <${place}/in >${place}/out 2>${place}/err; stat -c %u ${place}/in ${place}/out ${place}/err`
    writeFileSync(join(place, 'in'), 'x'.repeat(300_000))
    const words = [ATOMFS_FUSE, 'run', '--allow-missing-verity', '--user', '1000', image.source]
    const { stdout } = await asCaller(image, 'root', ['sh', '-c', script, 'sh', ...words])
    expect(stdout).toBe('0\n0\n0\n')
    expect(readFileSync(join(place, 'out'), 'utf8')).toBe('x'.repeat(300_000))
    expect(readFileSync(join(place, 'err'), 'utf8')).toBe('err\n')
  })

  test.each(['crun', 'runc'])(
    '%s gets signals of the caller, and everything is removed then',
    async (runtime) => {
      const inside = 'trap "echo got it; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
      // Emptied here: what an earlier test left would be read before the job in the background begins.
      const script = `: >out; "$@" -- sh -c '${inside}' >out & while ! grep -q ready out; do sleep 0.05; done; kill -TERM $!; wait $!; echo $?; cat out`
      const words = [ATOMFS_FUSE, 'run', '--allow-missing-verity', '--runtime', runtime, image.source]
      const { stdout } = await asCaller(image, 'user-one', ['sh', '-c', script, 'sh', ...words])
      expect(stdout).toBe('5\nready\ngot it\n')
      expect(remains('user-one')).toEqual([])
    },
  )

  test.each(['crun', 'runc'])('%s has the terminal of the caller', async (runtime) => {
    const command = `${ATOMFS_FUSE} run --allow-missing-verity --runtime ${runtime} ${image.source} -- sh -c 'tty; stty size; exit 9'`
    const words = ['script', '-qec', `stty rows 33 cols 99; ${command}`, '/dev/null']
    const { status, stdout } = await asCaller(image, 'user-one', words, { allowFailure: true })
    expect(status).toBe(9)
    expect(stdout).toMatch(/\/dev\/(pts\/0|console)\r?\n33 99\r?\n/)
  })

  test('a program that a signal ends has 128 and the signal as its status', async () => {
    const { status } = await runAs(image, 'user-one', ['--', 'sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?'], {
      allowFailure: true,
    })
    expect(status).toBe(137)
  })

  test('limits are kept for root of the machine, and refused for others', async () => {
    const refused = await runAs(image, 'user-one', ['--memory', '64M', '--', 'true'], { allowFailure: true })
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(/^Error: --memory: limits are kept by cgroups.*\n$/)
  })

  test('what a killed run leaves is removed by the next one', async () => {
    const place = placeOf(folder, 'user-one')
    const run = `${ATOMFS_FUSE} run --allow-missing-verity ${image.source} -- sh -c`
    // All in one mount namespace, so that what is mounted stays until somebody removes it.
    const script = [
      `for wait in 0 0.1 0.2 0.3 0.4 0.5 0.7 1; do`,
      `  ${run} 'echo started; sleep 100' >/dev/null 2>&1 & sleep $wait; kill -9 $!; wait $! 2>/dev/null || true`,
      'done',
      // The last one is killed when its container runs.
      `: >out; ${run} 'echo started; sleep 100' >out & while ! grep -q started out; do sleep 0.05; done; kill -9 $!`,
      // On a busy machine a mount may come after the end of the run that has asked for it.
      'for i in $(seq 40); do',
      `  sleep 0.3; ${run} 'echo next' >next; grep -q fuse.atomfs-fuse /proc/self/mountinfo || break`,
      'done',
      'cat next; rm next',
      'grep -c fuse.atomfs-fuse /proc/self/mountinfo || true',
      'ls run/bundles; ls -d atomfs-run-* 2>/dev/null || echo clean',
    ].join('\n')
    const { stdout, stderr } = await asCaller(image, 'user-one', ['sh', '-c', script])
    expect({ stdout, stderr }).toEqual({ stdout: 'next\n0\nclean\n', stderr: expect.any(String) })
    expect(readdirSync(place).filter((name) => name.startsWith('atomfs-run'))).toEqual([])
  })

  test('a bundle is made, run by the runtime itself, and removed', async () => {
    const script = [
      'set -e',
      `${ATOMFS_FUSE} bundle create --allow-missing-verity ${image.source} b -- sh -c 'echo inside; touch /x; exit 3'`,
      'ls b; stat -c %a b b/config.json',
      'crun --cgroup-manager=disabled --root "$PWD/state" run -b b one || echo $?',
      'ls b/rootfs/x',
      `${ATOMFS_FUSE} bundle create --allow-missing-verity ${image.source} b 2>&1 || true`,
      `${ATOMFS_FUSE} bundle rm b`,
      'ls -d b 2>&1 || true; ls run/bundles',
      `mkdir c; ${ATOMFS_FUSE} bundle rm c 2>&1 || true; ls -d c`,
    ].join('\n')
    const { stdout } = await asCaller(image, 'user-one', ['sh', '-c', script])
    expect(stdout).toMatch(
      /^atomfs-bundle.json\nchanges\nconfig.json\nrootfs\n700\n600\ninside\n3\nb\/rootfs\/x\nError: .*b exists.*\nls: .*b.*\nError: .*c is no bundle.*\nc\n$/,
    )
  })

  test('a runtime that is missing, and an image without a command, are said in one line', async () => {
    const missing = await runAs(image, 'user-one', [], { runtime: 'no-such-runtime', allowFailure: true })
    expect(missing).toMatchObject({ status: 1, stdout: '' })
    expect(missing.stderr).toMatch(/^Error: no-such-runtime is not in PATH: install one of them.*\n$/)
    const words = [ATOMFS_FUSE, 'run', join(folder, 'layer.squashfs')]
    const silent = await asCaller(image, 'user-one', words, { allowFailure: true })
    expect(silent.stderr).toMatch(/^Error: .*does not say what to run: give a command behind --\n$/)
    expect(remains('user-one')).toEqual([])
  })
})
