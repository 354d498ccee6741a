import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { COMMANDS, OPTIONS } from '../src/cli/program/command-table.ts'
import { MOUNT_ROWS, OVERLAY_ROWS } from '../src/cli/program/option-rows.ts'
import { makeTempDir, needs, removeTempDir, run, titled } from './library/index.ts'

/** The man pages, as the build makes them. */

const ROOT = resolve(import.meta.dirname, '..')
const temp = makeTempDir()
const SOURCE_DATE_EPOCH = '1700000000'
let page = ''

beforeAll(async () => {
  await run(process.execPath, [join(ROOT, 'scripts/man.mjs'), '--to', temp], { env: { SOURCE_DATE_EPOCH } })
  // As a terminal shows it, without a reader of man pages.
  page = readFileSync(join(temp, 'atomfs-fuse.1'), 'utf8')
    .replace(/\\f[BIR]/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\(aq', "'")
    .replaceAll('\\e', '\\')
})
afterAll(() => removeTempDir(temp))

const missing = (words: readonly string[]): readonly string[] => words.filter((word) => !page.includes(word))

test('there are the pages that package.json names', () => {
  const { man }: { man: readonly string[] } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect(readdirSync(temp).sort()).toEqual(man.map((path) => path.replace('./man/', '')).sort())
})

test('the man page has every command and every option of --help', () => {
  const flags = COMMANDS.flatMap(({ options }) => options.map(([form]) => form.replace(/ [<[].*/, '')))
  expect(flags).toContain(OPTIONS.allowMissingVerity[0])
  expect(missing(flags)).toEqual([])
  expect(missing(COMMANDS.map(({ name }) => `atomfs-fuse ${name}`))).toEqual([])
  const forms = [...MOUNT_ROWS, ...OVERLAY_ROWS].flatMap((row) => row.forms)
  expect(missing(forms)).toEqual([])
})

test('the man page has every environment variable of the documents', () => {
  // The single executable has no man page, and its tests have switches.
  const documents = readdirSync(join(ROOT, 'docs')).filter(
    (name) => name.endsWith('.md') && name !== 'single-file.md',
  )
  const text = documents.map((name) => readFileSync(join(ROOT, 'docs', name), 'utf8')).join('\n')
  const ours = /\b(?:ATOMFS|XDG|FUSERMOUNT|FUSE_OVERLAYFS|NOTIFY|JOURNAL|NODE|LD)_[A-Z_]+\b|\bTMPDIR\b/g
  // Of fuse-overlayfs, without effect here (docs/names.md).
  const variables = [...new Set(text.match(ours))].filter((one) => one !== 'FUSE_OVERLAYFS_NO_PASSTHROUGH')
  expect(variables.length).toBeGreaterThan(8)
  expect(missing(variables)).toEqual([])
})

test('the man page is the same at each build of one date', () => {
  expect(readFileSync(join(temp, 'atomfs-fuse.1'), 'utf8')).toContain('.TH ATOMFS-FUSE 1 2023-11-14 ')
})

const mandoc = needs('mandoc')
test.skipIf(!mandoc.ok)(titled('mandoc finds nothing wrong with the man pages', mandoc), async () => {
  const pages = readdirSync(temp).map((name) => join(temp, name))
  const result = await run('mandoc', ['-T', 'lint', '-W', 'style', ...pages], { allowFailure: true })
  expect(result.stdout + result.stderr).toBe('')
})

const groff = needs('groff')
test.skipIf(!groff.ok)(titled('groff finds nothing wrong with the man pages', groff), async () => {
  for (const name of readdirSync(temp)) {
    const result = await run('groff', ['-ww', '-man', '-Tutf8', '-z', join(temp, name)], {
      allowFailure: true,
    })
    expect(`${name}: ${result.stderr}`).toBe(`${name}: `)
  }
})
