import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

/** The table of ARCHITECTURE.md that says what each cache and document may hold, compared with the sources. */

const ROOT = path.resolve(import.meta.dirname, '..')
const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

const SOURCES = ['src', 'overlay', 'squashfs', 'ext4', 'puzzlefs', 'sif', 'tar'].flatMap((folder) =>
  fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, name)),
)

interface Row {
  readonly file: string
  readonly constant: string
  readonly value: number
}

function rows(): Row[] {
  const text = fs.readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8')
  const pattern = /^\|[^|]+\| `([\w./-]+)` \| `([A-Z_]+)` \| ([\d ]+?) ?([KMG]iB)? \|/gm
  return [...text.matchAll(pattern)].map(([, file = '', constant = '', digits = '', unit]) => ({
    file,
    constant,
    value: Number(digits.replaceAll(' ', '')) * (unit === undefined ? 1 : (UNITS[unit] ?? Number.NaN)),
  }))
}

/** Value of a constant made of numbers, operators and other exported constants. */
function evaluate(file: string, constant: string): number {
  const text = fs.readFileSync(path.join(ROOT, file), 'utf8')
  const expression = new RegExp(`^(?:export )?const ${constant}\\b[^=]*= ([^\\n]+)$`, 'm').exec(text)?.[1]
  if (expression === undefined) throw new Error(`${file} has no constant ${constant}`)
  const numbers = expression.replace(/[A-Z][A-Z_]+/g, (name) => String(evaluate(definer(file, name), name)))
  if (!/^[\d_()*<+\- ]+$/.test(numbers)) throw new Error(`${file}: ${constant} = ${expression}`)
  return Number(new Function(`return ${numbers}`)())
}

/** The file that exports a constant, or the one that uses it if it has it itself. */
function definer(file: string, constant: string): string {
  const has = (name: string): boolean =>
    fs.readFileSync(path.join(ROOT, name), 'utf8').includes(`const ${constant} = `)
  const found = [file, ...SOURCES].find(has)
  if (found === undefined) throw new Error(`${file}: no file defines ${constant}`)
  return found
}

describe('the table of bounds in ARCHITECTURE.md', () => {
  test('the table of bounds has its rows', () => {
    expect(rows().length).toBeGreaterThan(35)
  })

  test.each(rows())(
    'in $file, $constant has the value in the table of bounds',
    ({ file, constant, value }) => {
      expect(evaluate(file, constant)).toBe(value)
    },
  )
})
