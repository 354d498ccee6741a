import { spawn } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, removeTempDir, run } from '../library/index.ts'
import { readMetrics } from '../library/programs/prometheus.ts'
import { until } from '../library/programs/wait.ts'
import { inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** What `status` tells programs, and people who keep watching. */

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

const PAGE = readFileSync(resolve(import.meta.dirname, '../../docs/status.md'), 'utf8')

/** The first column of the table whose head begins so, and the second. */
function documented(head: string): Map<string, string> {
  const [, rows = ''] = PAGE.split(`| ${head} |`)
  const [table = ''] = rows.split('\n\n')
  return new Map([...table.matchAll(/^\| `([^`]+)` \| (\w+) \|/gm)].map((row) => [row[1]!, row[2]!]))
}

function fieldsOf(value: unknown, path = ''): [field: string, type: string][] {
  if (Array.isArray(value)) return value.flatMap((one) => fieldsOf(one, `${path}[]`))
  if (typeof value !== 'object' || value === null) return [[path, typeof value]]
  return Object.entries(value).flatMap(([name, one]) => fieldsOf(one, path === '' ? name : `${path}.${name}`))
}

describe('status for programs', () => {
  test('docs/status.md lists the fields that status --json prints, and the metrics', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      expect(await atomfs('mount', '--upper', join(folder, 'upper'), life.image, target)).toMatchObject(
        SILENT,
      )
      await run('cat', [join(target, 'big')])
      const json = (await atomfs('status', '--json', target)).stdout
      const fields = fieldsOf(JSON.parse(json)).map(([name, type]) => [
        name.replace(/^operations\.[A-Z_]+$/, 'operations.NAME'),
        type,
      ])
      const expected = documented('field')
      // Of PuzzleFS images, and of tar layers alone.
      for (const name of ['chunks', 'compressor', 'tar.how', 'tar.bytes', 'tar.checkpoints'])
        expect(expected.delete(`layers[].${name}`)).toBe(true)
      expect(Object.fromEntries(fields)).toEqual(Object.fromEntries(expected))
      const { stdout } = await atomfs('status', '--metrics', '-')
      const samples = readMetrics(stdout)
      const types = [...stdout.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1], match[2]])
      expect(types).toEqual([...documented('metric')])
      const numberOf = (name: string) => samples.find((one) => one.name === `atomfs_fuse_${name}`)?.value
      expect(numberOf('mounts')).toBe(1)
      const requests = samples.filter(({ name }) => name === 'atomfs_fuse_requests_total')
      expect(requests.map(({ labels }) => labels['op'])).toEqual(
        expect.arrayContaining(['INIT', 'LOOKUP', 'OPEN', 'READ']),
      )
      const { operations, counters } = JSON.parse((await atomfs('status', '--json', target)).stdout)
      expect(Object.values<number>(operations).reduce((sum, one) => sum + one, 0)).toBe(counters.requests)
      const reads = samples.filter(({ name }) => name === 'atomfs_fuse_image_reads_total')
      expect(reads.map(({ labels }) => labels['cache'])).toEqual(['hit', 'miss'])
      expect(reads.reduce((sum, { value }) => sum + value, 0)).toBeGreaterThan(0)
      await atomfs('umount', target)
      expect(readMetrics((await atomfs('status', '--metrics', '-')).stdout)).toHaveLength(1)
    })
  })

  test('metrics replace a regular file as a whole, and nothing else', async () => {
    await inScene(async ({ folder, atomfs }) => {
      const place = join(folder, 'collected')
      mkdirSync(place)
      const file = join(place, 'atomfs.prom')
      writeFileSync(file, 'old')
      expect(await atomfs('status', '--metrics', file)).toMatchObject(SILENT)
      expect(readMetrics(readFileSync(file, 'utf8'))).toHaveLength(1)
      expect(lstatSync(file).mode & 0o777).toBe(0o666 & ~process.umask())

      symlinkSync(file, join(place, 'link'))
      for (const [name, why] of [
        ['link', 'is no regular file'],
        ['.', 'is no regular file'],
        ['missing/x', 'ENOENT'],
      ] as const) {
        const { status, stdout, stderr } = await atomfs('status', '--metrics', join(place, name))
        expect([status, stdout, stderr.split('\n').length]).toEqual([1, '', 2])
        expect(stderr).toContain(why)
      }
      const wrong = await atomfs('status', '--json', '--metrics', file)
      expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining('--metrics goes without') })
      expect(readdirSync(place).sort()).toEqual(['atomfs.prom', 'link'])
    })
  })

  test('metrics for which the disk has no room leave the file as it was, and no other', async () => {
    await inScene(async ({ folder, atomfs }) => {
      const place = join(folder, 'full')
      mkdirSync(place)
      await run('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'small', place])
      const file = join(place, 'atomfs.prom')
      writeFileSync(file, Buffer.alloc(8192))
      const { status, stderr } = await atomfs('status', '--metrics', file)
      expect([status, stderr]).toEqual([1, expect.stringMatching(/^Error: .*ENOSPC.*\n$/)])
      expect(readdirSync(place)).toEqual(['atomfs.prom'])
      expect(readFileSync(file)).toEqual(Buffer.alloc(8192))
    })
  })
})

describe('status --watch', () => {
  test('status --watch refreshes in place on a terminal, and Ctrl-C brings the terminal back', async () => {
    await inScene(async ({ runDir, target, atomfs }) => {
      await atomfs('mount', life.image, target)
      const command = `${ATOMFS_FUSE} status --watch 0.1 '${target}'`
      const child = spawn('script', ['-qefc', command, '/dev/null'], {
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir, TERM: 'xterm' },
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      let shown = ''
      child.stdout.on('data', (piece: Buffer) => {
        shown += piece.toString()
      })
      const ended = new Promise<number | null>((done) => child.on('close', done))
      try {
        await until(() => shown.split('\u001b[H').length > 3, 'three outputs')
        child.stdin.write('\u0003')
        // 128 and the number of SIGINT.
        expect(await Promise.race([ended, until(() => false, 'the end')])).toBe(130)
      } finally {
        child.kill('SIGKILL')
      }
      // The second screen, without cursor: opened once and closed once. Nothing is cleared before it is written.
      expect(shown.indexOf('\u001b[?1049h\u001b[?25l')).toBe(0)
      expect(shown.endsWith('\u001b[?25h\u001b[?1049l')).toBe(true)
      expect(shown.split('\u001b[?1049h')).toHaveLength(2)
      expect(shown).not.toContain('\u001b[2J')
      const [, second = ''] = shown.split('\u001b[H').slice(1)
      expect(second).toContain(`target:    ${target}`)
      await atomfs('umount', target)
    })
  })

  test('status --watch prints blocks where there is no terminal, until its reader ends or the mount does', async () => {
    await inScene(async ({ folder, runDir, target, atomfs }) => {
      await atomfs('mount', life.image, target)
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      const head = await run('sh', ['-c', `'${ATOMFS_FUSE}' status --watch=0.1 --json | head -n 3`], { env })
      expect(head.stderr).toBe('')
      const lines = head.stdout.trimEnd().split('\n')
      expect(lines.map((line) => JSON.parse(line)[0].target)).toEqual([target, target, target])
      // The mount ends meanwhile.
      const file = join(folder, 'watched')
      const watched = run('sh', ['-c', `'${ATOMFS_FUSE}' status '${target}' --watch 0.1 >'${file}'`], {
        env,
        allowFailure: true,
      })
      const blocks = () => (existsSync(file) ? readFileSync(file, 'utf8').split(/(?:^|\n\n)target: {4}/) : [])
      await until(() => blocks().length > 2, 'two outputs')
      await atomfs('umount', target)
      expect(await watched).toMatchObject({ status: 1, stderr: expect.stringMatching(/^Error: [^\n]*\n$/) })
      expect(blocks().join()).not.toContain('\u001b')
    })
  })
})
