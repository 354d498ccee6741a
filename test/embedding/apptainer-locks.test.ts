import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, describe, expect, test } from 'vitest'
import { initImage } from '../../src/index.ts'
import {
  errorOf,
  extStart,
  ImageFolder,
  partOf,
  squashfsStart,
  usingImage,
} from '../library/images/apptainer-starts.ts'
import { makeSif } from '../library/images/sif.ts'
import { needs, titled } from '../library/index.ts'

/** Apptainer's package `image`: how images in use are kept from others. The texts are those of the package. */

const images = new ImageFolder()
afterAll(() => images.remove())

const perl = needs('perl')

/** Of fcntl(2): a lock of the process, which Apptainer takes, and one of the open file. */
const COMMANDS = { process: 6, file: 37 } as const

interface Lock {
  readonly kind: 'read' | 'write'
  readonly range: readonly [start: number, length: number]
  readonly of?: keyof typeof COMMANDS
}

/** Another process that locks a range of a file while `use` runs. @returns whether it got the lock */
async function withStranger(
  name: string,
  { kind, range: [start, length], of = 'process' }: Lock,
  use: (pid: number) => void = () => {},
): Promise<boolean> {
  const script = `$| = 1; my ($name, $type, $start, $length, $command) = @ARGV;
    open(my $file, '+<', $name) or die $!;
    my $lock = pack('s s x4 q q i x4', $type, 0, $start, $length, 0);
    print fcntl($file, $command, $lock) ? "held\\n" : "refused\\n";
    <STDIN>;`
  const words = [name, kind === 'read' ? 0 : 1, start, length, COMMANDS[of]].map(String)
  const child = spawn('perl', ['-e', script, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  try {
    const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [unknown]
    const isHeld = String(line) === 'held\n'
    if (!isHeld && String(line) !== 'refused\n') throw new Error(`the other process: ${String(line)}`)
    if (isHeld) use(child.pid ?? 0)
    return isHeld
  } finally {
    child.stdin.end()
    await ended
    clearTimeout(timer)
  }
}

describe.skipIf(!perl.ok)(titled('locks', perl), () => {
  test.each(['process', 'file'] as const)(
    'an ext3 image that another process writes cannot be opened, and one that it reads not for writing: locks of the %s',
    async (of) => {
      const name = images.file(extStart())
      const range = [0, 4096] as const
      const before = `while locking ext3 partition from ${name}: can't open ${name} for`
      const held = await withStranger(name, { kind: 'write', range, of }, (pid) => {
        expect(errorOf(() => initImage(name))).toMatchObject({
          code: 'EBUSY',
          fault: 'in-use',
          message: `${before} reading, currently in use for writing by another process (${pid})`,
        })
      })
      const shared = await withStranger(name, { kind: 'read', range, of }, (pid) => {
        initImage(name).close()
        const { message } = errorOf(() => initImage(name, true))
        expect(message).toBe(`${before} writing, currently in use by another process (${pid})`)
      })
      expect([held, shared]).toEqual([true, true])
      initImage(name, true).close()
    },
  )

  test('the lock lies on the partition alone, and does not end with another descriptor of the file', async () => {
    const name = images.file(makeSif({ parts: [partOf(squashfsStart(), 1, 2), partOf(extStart(), 2, 4)] }))
    const image = initImage(name, true)
    const { offset, size } = image.getOverlayPartitions()[0]!
    const already = (use: string) => new RegExp(`, already used for ${use} by this process$`)
    // What fails here closes a descriptor of the file, which ends the lock in Apptainer.
    expect(errorOf(() => initImage(name)).message).toMatch(already('writing'))
    expect(errorOf(() => initImage(name, true)).message).toMatch(already('writing'))
    expect(await withStranger(name, { kind: 'read', range: [offset, size] })).toBe(false)
    expect(await withStranger(name, { kind: 'write', range: [0, offset] })).toBe(true)
    image.close()
    expect(await withStranger(name, { kind: 'write', range: [offset, size] })).toBe(true)
    const readers = [initImage(name), initImage(name)]
    expect(errorOf(() => initImage(name, true)).message).toMatch(already('reading'))
    expect(await withStranger(name, { kind: 'write', range: [offset, size] })).toBe(false)
    for (const reader of readers) reader.close()
    usingImage(name, ({ writable }) => expect(writable).toBe(true), true)
  })

  test('squashfs and directories are not locked', async () => {
    const image = initImage(images.file(squashfsStart()))
    expect(await withStranger(image.path, { kind: 'write', range: [0, 4096] })).toBe(true)
    image.close()
    initImage(images.path).close()
  })
})
