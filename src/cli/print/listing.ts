import type { ContainedObject, ContainerListing } from '../../base/index.ts'
import { formatLines } from './format.ts'
import { formatTable } from './table.ts'

const HEAD = ['ID', 'TYPE', 'GROUP', 'LINK', 'OFFSET', 'SIZE', 'NAME', 'DETAILS']

/** How long a digest or a fingerprint is shown; all of it is in the JSON. */
const SHOWN_HEX = 23

/** What lies in a file that holds more than images: a line for each fact, and a table of its objects. */
export function formatListing({ kind, facts, objects, remarks }: ContainerListing): string {
  const shown = Object.entries(facts).filter(([, value]) => value !== '')
  const lines = shown.map(([name, value]) => `${words(name)}: ${factText(name, value)}`)
  const table =
    objects.length === 0 ? formatLines(['it holds no objects']) : formatTable(HEAD, objects.map(row))
  return `${formatLines([`kind: ${kind}`, ...lines, ...remarks])}\n${table}`
}

/** `launchScript` as people write it. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

function factText(name: string, value: string | number): string {
  const isTime = name === 'created' || name === 'modified'
  return isTime && typeof value === 'number' ? formatTime(value) : String(value)
}

function row({ id, type, group, link, offset, size, name, details }: ContainedObject): readonly string[] {
  return [
    String(id),
    type,
    group === undefined ? '-' : String(group),
    linkText(link),
    String(offset),
    String(size),
    name === '' ? '-' : name,
    Object.values(details).map(shorten).join(', ') || '-',
  ]
}

/** @returns `2 (G)` for a group, as siftool has it */
function linkText(link: ContainedObject['link']): string {
  if (link === undefined) return '-'
  return 'group' in link ? `${link.group} (G)` : String(link.object)
}

function shorten(text: string): string {
  return /^(?:[a-z0-9]+:)?[0-9a-f]{64,}$/.test(text) ? text.slice(0, SHOWN_HEX) : text
}

/** @param seconds since 1970 */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
}
