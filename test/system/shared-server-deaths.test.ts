import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMounted, makeTempDir, removeTempDir, run } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries } from '../library/scenes/life.ts'
import { descriptorsOf, type SharedScene, withShared } from '../library/scenes/shared.ts'
import { makeSharedSources, noise, type SharedSources } from '../library/scenes/shared-images.ts'
import { knownFile, type ReaderReport, SteadyReaders } from '../library/scenes/steady-readers.ts'

/** The dispatcher of a shared server dies under the load of several mounts, and another one goes on with them. */

const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
const DEATHS = IS_LONG ? 50 : 2
const SIZE = 2 << 20

let folder = ''
let images: SharedSources

beforeAll(async () => {
  folder = makeTempDir()
  images = await makeSharedSources(folder, SIZE)
})

afterAll(() => removeTempDir(folder))

const FILES = [knownFile('etc/motd', Buffer.from('hello\n')), knownFile('./large', noise(SIZE))]

/** One mount and who reads it. Where it was ended it is made again. */
class ReadMount {
  readonly target: string
  readonly #again: () => Promise<unknown>
  readonly #readers = new SteadyReaders()
  readonly reports: ReaderReport[] = []
  ends = 0

  constructor(target: string, again: () => Promise<unknown>) {
    this.target = target
    this.#again = again
  }

  async start(): Promise<void> {
    await this.#readers.start(1, this.target, FILES)
  }

  async end(): Promise<void> {
    this.reports.push(...(await this.#readers.end()))
  }

  /** It was ended: its readers, and nobody else, were told so. */
  async renew(): Promise<void> {
    this.#readers.kill()
    await this.#again()
    await this.start()
  }

  kill(): void {
    this.#readers.kill()
  }
}

/** The lines about deaths, of all mounts. */
function deathsIn(runDir: string): string[] {
  return entries(runDir)
    .flatMap((entry) => readFileSync(join(entry, 'log'), 'utf8').split('\n'))
    .filter((line) => line.includes('the dispatcher died'))
}

/** What a server holds when its workers have ended: devices, and what its threads wait for. */
async function heldAtRest(pid: number): Promise<number> {
  const isAtRest = (): boolean => {
    const names = readdirSync(`/proc/${pid}/task`).map((task) => commOf(pid, task))
    // One that starts has the name of the process.
    const starts = names.filter((name) => name === names[0]).length > 1
    return !starts && !names.some((name) => name.startsWith('data worker'))
  }
  await until(isAtRest, 'the end of the workers', 60_000)
  return descriptorsOf(pid).filter((path) => /^(?:\/dev\/|anon_inode:\[eventpoll\])/.test(path)).length
}

function commOf(pid: number, task: string): string {
  try {
    return readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8')
  } catch {
    return ''
  }
}

async function withFaults(play: (scene: SharedScene, faults: string) => Promise<void>): Promise<void> {
  const faults = join(folder, 'faults')
  mkdirSync(faults, { recursive: true })
  process.env['ATOMFS_TEST_FAULTS'] = faults
  try {
    await withShared((scene) => play(scene, faults))
  } finally {
    delete process.env['ATOMFS_TEST_FAULTS']
    await run('rm', ['-r', faults])
  }
}

describe('a dispatcher that runs out of memory', () => {
  test.each([
    ['the kernel sends requests again', []],
    ['requests under way are refused', ['no-resend']],
  ] as const)(
    `${DEATHS} times under load: others go on, and %s`,
    async (_, marks) => {
      await withFaults(async ({ mount, servers, runDir }, faults) => {
        for (const mark of marks) writeFileSync(join(faults, mark), '')
        const mounts: ReadMount[] = []
        for (const [i, { source, words, isIndexed }] of images.sources.entries()) {
          if (isIndexed || (!IS_LONG && i % 3 !== 0)) continue
          const again = (): Promise<string> => mount(source, `m${i}`, ...words)
          mounts.push(new ReadMount(await again(), again))
        }
        const [pid = 0] = servers()
        try {
          const before = await heldAtRest(pid)
          for (const one of mounts) await one.start()
          let ended = 0
          for (let death = 1; death <= DEATHS; death++) {
            const fault = join(faults, 'dispatcher')
            writeFileSync(fault, 'memory')
            await until(() => !existsSync(fault), `death ${death}`, 60_000)
            // Each mount answers again, or was found at three deaths.
            const answers = await Promise.all(
              // The kernel never answers that by itself.
              mounts.map(({ target }) =>
                run('stat', ['-f', target], { allowFailure: true, timeout: 60_000 }),
              ),
            )
            for (const [i, one] of mounts.entries()) {
              const { stderr } = answers[i]!
              const isEnded = /not connected|connection abort/.test(stderr) || !isMounted(one.target)
              if (!isEnded) {
                if (stderr !== '')
                  expect([marks.length, stderr]).toEqual([1, expect.stringContaining('Input/output')])
                continue
              }
              await until(() => !isMounted(one.target), 'the end of the mount')
              expect(deathsIn(runDir).filter((line) => line.includes('that is death 3'))).toHaveLength(1)
              await one.renew()
              ended += 1
            }
          }
          for (const one of mounts) await one.end()
          const reports = mounts.flatMap(({ reports }) => reports)
          for (const { wrong, again, refused } of reports) {
            expect({ wrong, again }).toEqual({ wrong: [], again: true })
            // A reader has one request under way.
            expect(refused).toBeLessThanOrEqual(marks.length === 0 ? 0 : DEATHS)
          }
          expect(reports).toHaveLength(mounts.length)
          // Two deaths of each leave it alone.
          expect(ended).toBeLessThanOrEqual(DEATHS / 3)
          expect(servers()).toEqual([pid])
          expect(await heldAtRest(pid)).toBeLessThanOrEqual(before)
          if (IS_LONG) {
            const refused = reports.reduce((sum, report) => sum + report.refused, 0)
            const reads = reports.reduce((sum, report) => sum + report.reads, 0)
            process.stderr.write(
              `${DEATHS} deaths, ${mounts.length} mounts: ${reads} reads, ${refused} refused, ${ended} ended\n`,
            )
          }
          expect(deathsIn(runDir).length).toBeGreaterThan(0)
        } finally {
          for (const one of mounts) one.kill()
        }
      })
    },
    DEATHS * 30_000 + 60_000,
  )

  test('leaves a descriptor to the worker that still uses it', async () => {
    const tree = join(folder, 'random')
    mkdirSync(tree)
    writeFileSync(join(tree, 'data'), randomBytes(1 << 20))
    const image = join(folder, 'random.sqfs')
    // One READ wants so many blocks that it goes to a worker.
    await run('mksquashfs', [tree, image, '-b', '4096', '-quiet', '-no-progress'])
    const [{ source: other } = { source: '' }] = images.sources
    await withFaults(async ({ mount, servers, runDir }, faults) => {
      const target = await mount(image, 'a')
      const stays = await mount(other, 'b')
      const [pid = 0] = servers()
      const devices = (): number => descriptorsOf(pid).filter((path) => path === '/dev/fuse').length
      expect(devices()).toBe(2)
      const [worker, dispatcher] = [join(faults, 'data-worker'), join(faults, 'dispatcher')]
      writeFileSync(worker, 'stall')
      const compared = run('cmp', [join(tree, 'data'), join(target, 'data')])
      await until(() => !existsSync(worker), 'a worker that waits')
      writeFileSync(dispatcher, 'memory')
      const motd = async (): Promise<string> => (await run('cat', [join(stays, 'etc/motd')])).stdout
      expect(await motd()).toBe('hello\n')
      expect(existsSync(dispatcher)).toBe(false)
      // Whoever waits for that worker is served by others.
      await compared
      await run('umount', [target])
      await until(() => entries(runDir).length === 1, 'the end of the entry')
      expect(await motd()).toBe('hello\n')
      expect(devices()).toBe(2)
      writeFileSync(join(faults, 'stall-over'), '')
      await until(() => devices() === 1, 'the descriptor to be closed')
      expect(await motd()).toBe('hello\n')
    })
  })
})
