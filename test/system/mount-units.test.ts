import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { withMountWords } from '../../src/cli/words/mount-words.ts'
import { parseMountOptions } from '../../src/request/index.ts'
import { needs, run, titled, withTempDir } from '../library/index.ts'

/** The units of systemd and the lines of fstab that the documents show. */

const PAGE = readFileSync(new URL('../../docs/units.md', import.meta.url), 'utf8')

interface Unit {
  readonly name: string
  readonly text: string
}

/** Each block with a unit says in its first line where the file goes. */
const UNITS: readonly Unit[] = [
  ...PAGE.matchAll(/```ini\n# \/etc\/systemd\/system\/(\S+)\n([\s\S]*?)```/g),
].map(([, name = '', text = '']) => ({ name, text }))

const FSTAB = PAGE.split('\n').flatMap((line) => {
  const fields = line.split(/ +/)
  return /^\/\S+ +\/\S+ +\S*atomfs-fuse /.test(line) ? [fields] : []
})

const verify = needs('systemd-analyze', 'systemd-escape')

describe('the page of fstab and units', () => {
  test('the page has units of each kind, and fstab lines', () => {
    expect(UNITS.map(({ name }) => name)).toEqual([
      'srv-web.mount',
      'srv-web.automount',
      'srv-my\\x20app.mount',
    ])
    expect(FSTAB.length).toBe(3)
  })

  test('the options of the units and of the fstab lines are options of ours', () => {
    const lists = [
      ...UNITS.flatMap(({ text }) => [...text.matchAll(/^Options=(.*)$/gm)].map(([, list = '']) => list)),
      ...FSTAB.map((fields) => fields[3] ?? ''),
    ]
    expect(lists.length).toBe(5)
    for (const list of lists) expect(() => parseMountOptions(withMountWords({ o: [list] }).o)).not.toThrow()
  })
})

describe.skipIf(!verify.ok)(titled('the units', verify), () => {
  test('systemd finds nothing wrong with the units, and their names are those of their places', async () => {
    await withTempDir(async (folder) => {
      for (const { name, text } of UNITS) writeFileSync(join(folder, name), text)
      for (const { name, text } of UNITS) {
        const [where = ''] = /(?<=^Where=).*$/m.exec(text) ?? []
        const suffix = name.replace(/.*\./, '')
        const escaped = await run('systemd-escape', ['-p', `--suffix=${suffix}`, where])
        expect(escaped.stdout).toBe(`${name}\n`)
        const result = await run('systemd-analyze', ['verify', '--man=no', join(folder, name)], {
          allowFailure: true,
        })
        expect(result).toMatchObject({ status: 0, stdout: '', stderr: '' })
      }
      // One that is wrong is found out.
      writeFileSync(join(folder, 'srv-other.mount'), UNITS[0]!.text)
      const wrong = await run('systemd-analyze', ['verify', '--man=no', join(folder, 'srv-other.mount')], {
        allowFailure: true,
      })
      expect(wrong.status).not.toBe(0)
    })
  })
})
