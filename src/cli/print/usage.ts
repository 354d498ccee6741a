import type { Amount, ImageUsage, LayerUsage } from '../../molecule/index.ts'
import { formatBytes, formatLines, shortLabel } from './format.ts'
import { formatTable } from './table.ts'

const LAYER_HEAD = ['LAYER', 'HOLDS', 'ADDS', 'REPLACES', 'HIDES', 'SHOWS']

/** Tables for people: what each layer does, the lowest first, and what is largest. */
export function formatUsage({ shows, layers, files, directories, unreadable }: ImageUsage): string {
  const sections = [
    formatTable(LAYER_HEAD, [
      ...layers.map(layerRow),
      ...(layers.length === 1 ? [] : [['together', '', '', '', '', amount(shows)]]),
    ]),
  ]
  if (files.length > 0) {
    const rows = files.map(({ path, layer, bytes, shown }) => [
      formatBytes(bytes),
      String(layer + 1),
      shown ? 'shown' : 'hidden',
      path,
    ])
    sections.push(formatTable(['SIZE', 'LAYER', 'STATE', 'LARGEST FILES'], rows))
  }
  if (directories.length > 0) {
    const rows = directories.map(({ path, shows: inside, hiddenBytes }) => [
      formatBytes(inside.bytes),
      String(inside.entries),
      formatBytes(hiddenBytes),
      path,
    ])
    sections.push(formatTable(['SIZE', 'NAMES', 'HIDDEN', 'LARGEST DIRECTORIES'], rows))
  }
  if (unreadable.count > 0) {
    const names = unreadable.count === 1 ? '1 name' : `${unreadable.count} names, the first`
    sections.push(formatLines([`cannot be read: ${names}: ${unreadable.first}`]))
  }
  return sections.join('\n')
}

function layerRow(layer: LayerUsage): readonly string[] {
  const label = shortLabel(layer.label)
  if (layer.repeated === true) return [label, 'counted further up', '', '', '', '']
  const { holds, adds, replaces, hides, shows } = layer
  return [label, ...[holds, adds, replaces, hides, shows].map(amount)]
}

/** Names, and the bytes of the files among them. */
function amount({ entries, bytes }: Amount): string {
  return entries === 0 ? '-' : `${entries} (${formatBytes(bytes)})`
}
