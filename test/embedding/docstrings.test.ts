import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

/** Every name that the package exports has a docstring; so has every method of the classes for those who embed. */

const ROOT = path.resolve(import.meta.dirname, '../..')
const MANIFEST: { exports: Record<string, string | { types: string }> } = JSON.parse(
  fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'),
)

/** The entry files by the name of their part. */
const ENTRIES = Object.entries(MANIFEST.exports).flatMap(([name, target]): [string, string][] =>
  typeof target === 'string'
    ? []
    : [[name, target.types.replace('./dist/types/', '').replace(/\.d\.ts$/, '.ts')]],
)

/** What the parts for those who embed export, by their names. */
const NAMES: Readonly<Record<string, readonly string[]>> = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'exports.json'), 'utf8'),
)

interface Exported {
  readonly name: string
  readonly file: string
  /** Index of the line. */
  readonly line: number
}

const DECLARATION = /^export (?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let) (\w+)/

function linesOf(file: string): string[] {
  return fs.readFileSync(path.join(ROOT, file), 'utf8').split('\n')
}

function declarations(file: string): Exported[] {
  return linesOf(file).flatMap((text, line) => {
    const name = DECLARATION.exec(text)?.[1]
    return name === undefined ? [] : [{ name, file, line }]
  })
}

/** All that a file exports, with the place where it is declared. */
function exportsOf(file: string): Exported[] {
  const text = linesOf(file).join('\n')
  const beside = (specifier: string): string => path.join(path.dirname(file), specifier)
  const all = [...text.matchAll(/^export \* from '([^']+)'/gm)].flatMap(([, specifier]) =>
    exportsOf(beside(specifier!)),
  )
  const named = [...text.matchAll(/^export (?:type )?\{([^}]*)\}(?: from '([^']+)')?/gm)].flatMap(
    ([, list, specifier]) => {
      const origin = specifier ?? originOf(text, list!)
      const offered = exportsOf(beside(origin))
      return list!
        .split(',')
        .map((one) => one.trim().replace(/^type /, ''))
        .filter((one) => one !== '')
        .map((text) => {
          const [name, shown = name] = text.split(' as ')
          const found = offered.find((one) => one.name === name)
          if (found === undefined) throw new Error(`${file}: ${name} is not found in ${origin}`)
          return { ...found, name: shown! }
        })
    },
  )
  return [...all, ...named, ...declarations(file)]
}

/** Where a name that is exported without `from` was imported from. */
function originOf(text: string, list: string): string {
  const name = list
    .split(',')[0]!
    .trim()
    .replace(/^type /, '')
  const found = [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)'/gm)].find(([, names]) =>
    new RegExp(`\\b${name}\\b`).test(names!),
  )
  if (found === undefined) throw new Error(`no import of ${name}`)
  return found[2]!
}

function hasDocstring({ file, line }: Exported): boolean {
  return linesOf(file)[line - 1]?.trim().endsWith('*/') === true
}

/** The public methods and accessors of a class or an interface, without those whose docstring is that of an interface. */
function methodsOf({ name, file, line }: Exported): Exported[] {
  const lines = linesOf(file)
  if (!/\b(class|interface)\b/.test(lines[line]!) || / (implements|extends) /.test(lines[line]!)) return []
  const end = lines.indexOf('}', line)
  return lines.slice(line, end).flatMap((text, i) => {
    const method = /^ {2}(?:static |async |get |override |\*)*(\w+)\??(?:<[^>]*>)?\(/.exec(text)?.[1]
    return method === undefined || method === 'constructor'
      ? []
      : [{ name: `${name}.${method}`, file, line: line + i }]
  })
}

describe('docstrings', () => {
  test('docstrings are checked in every part of the package', () => {
    expect(ENTRIES.map(([name]) => name)).toEqual(['.', './squashfs', './overlay', './verity', './fuse'])
    const script = fs.readFileSync(path.join(ROOT, 'scripts/api.mjs'), 'utf8')
    const listed = [...script.matchAll(/^ {2}'([\w/-]+\.ts)',$/gm)].map((match) => match[1])
    expect(listed).toEqual(ENTRIES.map(([, file]) => file))
  })

  test.each(ENTRIES)('every exported name of %s has a docstring', (_part, file) => {
    const exported = exportsOf(file)
    expect(exported.length).toBeGreaterThan(10)
    const missing = exported.filter((one) => !hasDocstring(one))
    expect(missing.map(({ name, file, line }) => `${name} in ${file}:${line + 1}`)).toEqual([])
  })

  test.each(ENTRIES)(
    'every method of the exported classes and interfaces of %s has a docstring',
    (_part, file) => {
      const missing = exportsOf(file)
        .flatMap(methodsOf)
        .filter((one) => !hasDocstring(one))
      expect(missing.map(({ name, file, line }) => `${name} in ${file}:${line + 1}`)).toEqual([])
    },
  )

  test.each(Object.entries(NAMES))('the exported names are the listed ones: %s', (name, names) => {
    const file = ENTRIES.find(([one]) => one === name)![1]
    // Whoever changes the list changes what programs of others can import.
    expect(
      exportsOf(file)
        .map((one) => one.name)
        .sort(),
    ).toEqual([...names].sort())
  })

  test.each(ENTRIES)('the module comment of %s names its module', (name, file) => {
    const specifier = path.posix.join('atomfs-fuse', name)
    expect(linesOf(file).slice(0, 4).join('\n')).toContain(`@module ${specifier}`)
  })
})
