import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = path.resolve(import.meta.dirname, '..')
const FOLDERS = ['src', 'squashfs', 'overlay', 'test', 'fixtures', 'bin', 'scripts', 'docs', 'bench']

const DOCUMENTS = ['', 'docs', 'docs/adr', 'fixtures', 'bench'].flatMap((folder) =>
  fs.existsSync(path.join(ROOT, folder))
    ? fs
        .readdirSync(path.join(ROOT, folder))
        .filter((name) => name.endsWith('.md'))
        .map((name) => path.join(folder, name))
    : [],
)

/** Paths in back quotes that begin with a folder of ours, and the targets of links. */
function pathsNamedIn(document: string): string[] {
  const text = fs.readFileSync(path.join(ROOT, document), 'utf8')
  const quoted = [...text.matchAll(/`([A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*\/?)`/g)]
    .map((match) => match[1]!)
    .filter((name) => name.includes('/') && FOLDERS.includes(name.split('/')[0]!))
  const linked = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map((match) => match[1]!)
    .filter((name) => !/^[a-z]+:/.test(name))
    .map((name) => path.join(path.dirname(document), name))
  return [...quoted, ...linked]
}

describe('documents', () => {
  it('are there', () => {
    expect(DOCUMENTS).toEqual(
      expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md']),
    )
  })

  it.each(DOCUMENTS)('%s names only paths that exist', (document) => {
    const missing = pathsNamedIn(document).filter((name) => !fs.existsSync(path.join(ROOT, name)))
    expect(missing).toEqual([])
  })
})
