import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { LINK_NAMES } from '../src/cli/commands/names.ts'
import { OPTIONS } from '../src/cli/program/command-table.ts'
import { parseMountOptions } from '../src/request/mount-options.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const FOLDERS = [
  'src',
  'squashfs',
  'overlay',
  'ext4',
  'puzzlefs',
  'sif',
  'tar',
  'test',
  'fixtures',
  'bin',
  'scripts',
  'docs',
  'bench',
  'examples',
]

const DOCUMENTS = ['', 'docs', 'docs/adr', 'fixtures', 'bench'].flatMap((folder) =>
  fs.existsSync(path.join(ROOT, folder))
    ? fs
        .readdirSync(path.join(ROOT, folder))
        .filter((name) => name.endsWith('.md'))
        .map((name) => path.join(folder, name))
    : [],
)

/** Columns of a line; the rows of a table cannot be broken. */
const COLUMNS = 120

function read(document: string): string {
  return fs.readFileSync(path.join(ROOT, document), 'utf8')
}

/** The anchors that a forge makes of the headings of a document. */
function anchorsOf(document: string): ReadonlySet<string> {
  const headings = [...read(document).matchAll(/^#+ (.+)$/gm)].map((match) => match[1]!)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** Paths in back quotes that begin with a folder of ours, and the targets of links. */
function pathsNamedIn(document: string): string[] {
  const text = read(document)
  const quoted = [...text.matchAll(/`([A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*\/?)`/g)]
    .map((match) => match[1]!)
    .filter((name) => name.includes('/') && name !== 'docs/api/' && FOLDERS.includes(name.split('/')[0]!))
  const linked = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map((match) => match[1]!)
    .filter((name) => !/^[a-z]+:/.test(name))
    .map((name) => path.join(path.dirname(document), name))
  return [...quoted, ...linked]
}

describe('documents', () => {
  test('every document exists', () => {
    expect(DOCUMENTS).toEqual(
      expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md']),
    )
  })

  test.each(DOCUMENTS)('the document %s names only paths that exist', (document) => {
    const missing = pathsNamedIn(document).filter((name) => !fs.existsSync(path.join(ROOT, name)))
    expect(missing).toEqual([])
  })

  test.each(DOCUMENTS)('the document %s links only to headings that exist', (document) => {
    const links = [...read(document).matchAll(/\]\(([^)#\s]*\.md)?#([^)\s]+)\)/g)]
    const missing = links.filter(([, file, anchor]) => {
      const target = file === undefined ? document : path.join(path.dirname(document), file)
      return !anchorsOf(target).has(anchor!)
    })
    expect(missing.map(([link]) => link)).toEqual([])
  })

  test.each(DOCUMENTS.filter((one) => !/^(ARCHITECTURE|fixtures)/.test(one)))(
    'the document %s has no line over 120 columns',
    (document) => {
      const lines = read(document).split('\n')
      expect(lines.filter((line) => line.length > COLUMNS && !line.startsWith('|'))).toEqual([])
    },
  )
})

describe('docs/options.md', () => {
  const page = ['docs/options.md', 'docs/writable.md', 'docs/making.md', 'docs/contents.md']
    .map(read)
    .join('\n')
  /** Words in back quotes, each without its value: `-o uid=N,gid=N` has two. */
  const named = new Set(
    [...page.replaceAll(/```[^`]*```/g, '').matchAll(/`([^`]+)`/g)].flatMap((match) =>
      match[1]!.split(/[\s,]+/).map((word) => word.replace(/=.*$/, '')),
    ),
  )

  test('docs/options.md names every option of the command line', () => {
    const options = Object.values(OPTIONS).flatMap(([flags]) => /--[a-z-]+/.exec(flags) ?? [])
    expect(options.length).toBeGreaterThan(15)
    expect(options.filter((option) => !named.has(option))).toEqual([])
  })

  test('docs/options.md names every option after -o that has an effect', () => {
    let message = ''
    try {
      parseMountOptions(['unknown'])
    } catch (error) {
      message = String(error)
    }
    const known = message.replace(/^.*known are: /, '').split(', ')
    expect(known.length).toBeGreaterThan(30)
    expect(known.filter((one) => !named.has(one.replace(/=$/, '')))).toEqual([])
  })
})

test('docs/names.md has a row for every name of the program', () => {
  const rows = read('docs/names.md').match(/^\|.*$/gm) ?? []
  const first = rows.map((row) => row.split('|')[1]!)
  expect(LINK_NAMES.filter((name) => !first.some((cell) => cell.includes(`\`${name}\``)))).toEqual([])
})
