import type { TreeEntry } from './tree-walk.ts'

export type TreeField = Exclude<keyof TreeEntry, 'path'>

export interface CompareOptions {
  /** Fields that are allowed to differ. */
  readonly ignore?: readonly TreeField[]
  /** Link counts of directories may differ: overlayfs gives merged directories 1. */
  readonly ignoreDirectoryNlink?: boolean
  /** Attributes that are allowed to differ, by name. */
  readonly ignoreXattr?: (name: string) => boolean
  /** Lines before "and N more", 20 if absent. */
  readonly limit?: number
}

const FIELDS: readonly TreeField[] = [
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'mtime',
  'nlink',
  'blocks',
  'linkGroup',
  'rdev',
  'target',
  'xattrs',
  'sha256',
]

/**
 * How a squashfs image is compared with its source: it does not store how many blocks a file takes, and counts the links
 * of directories its own way.
 */
export const AS_SOURCE = { ignore: ['blocks'], ignoreDirectoryNlink: true } as const

/**
 * What distinguishes two listings: one line for each name or field, none where they are equal. Use as
 * `expect(compareTrees(actual, expected)).toEqual([])`.
 */
export function compareTrees(
  actual: readonly TreeEntry[],
  expected: readonly TreeEntry[],
  options: CompareOptions = {},
): string[] {
  const { limit = 20, ignore = [] } = options
  const fields = FIELDS.filter((field) => !ignore.includes(field))
  const lines: string[] = []
  const byPath = new Map(expected.map((entry) => [entry.path, entry]))
  const seen = new Set<string>()
  for (const entry of actual) {
    if (seen.has(entry.path)) lines.push(`${show(entry.path)}: listed twice`)
    seen.add(entry.path)
    const other = byPath.get(entry.path)
    if (other === undefined) lines.push(`${show(entry.path)}: unexpected ${entry.type}`)
    else lines.push(...compareEntries(entry, other, fields, options))
  }
  for (const entry of expected) {
    if (!seen.has(entry.path)) lines.push(`${show(entry.path)}: missing ${entry.type}`)
  }
  return lines.length <= limit ? lines : [...lines.slice(0, limit), `and ${lines.length - limit} more`]
}

function compareEntries(
  a: TreeEntry,
  b: TreeEntry,
  fields: readonly TreeField[],
  options: CompareOptions,
): string[] {
  // Of two things of different kinds the rest differs as a matter of course.
  if (a.type !== b.type)
    return fields.includes('type') ? [`${show(a.path)}: type ${a.type}, expected ${b.type}`] : []
  const lines: string[] = []
  for (const field of fields) {
    if (field === 'nlink' && a.type === 'directory' && options.ignoreDirectoryNlink) continue
    if (field === 'xattrs') lines.push(...compareXattrs(a, b, options.ignoreXattr))
    else if (a[field] !== b[field])
      lines.push(`${show(a.path)}: ${field} ${show(a[field])}, expected ${show(b[field])}`)
  }
  return lines
}

function compareXattrs(
  a: TreeEntry,
  b: TreeEntry,
  ignored: ((name: string) => boolean) | undefined,
): string[] {
  const lines: string[] = []
  const names = new Set([...Object.keys(a.xattrs ?? {}), ...Object.keys(b.xattrs ?? {})])
  for (const name of [...names].sort()) {
    const [left, right] = [a.xattrs?.[name], b.xattrs?.[name]]
    if (left === right || ignored?.(name)) continue
    lines.push(`${show(a.path)}: xattr ${name} ${showHex(left)}, expected ${showHex(right)}`)
  }
  return lines
}

function showHex(value: string | undefined): string {
  if (value === undefined) return 'absent'
  return value.length > 40 ? `0x${value.slice(0, 40)}… (${value.length / 2} bytes)` : `0x${value}`
}

function show(value: string | number | object | undefined): string {
  if (value === undefined) return 'none'
  const text = JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 80)}…${text.slice(-36)}` : text
}
