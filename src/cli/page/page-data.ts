import { omitUndefined, printable } from '../../base/index.ts'
import type { Amount, InspectReport, LayerUsage, MeasuredUsage, SizeNode } from '../../molecule/index.ts'
import { shortLabel } from '../print/format.ts'

/** `[entries, bytes]` */
type Pair = readonly [entries: number, bytes: number]

/** `[index of the parent, name, 1 for a directory, names, [layer, bytes held, bytes shown, …]]`; the parent of the root is -1. */
type NodeRow = readonly [
  parent: number,
  name: string,
  isDirectory: number,
  names: number,
  sizes: readonly number[],
]

interface PageLayer {
  readonly number: string
  readonly name: string
  readonly label: string
  /** Bytes of the blob. */
  readonly stored?: number
  readonly holds: Pair
  readonly adds: Pair
  readonly replaces: Pair
  readonly hides: Pair
  readonly shows: Pair
}

/** What `page.js` finds in the page. All texts can be printed. */
export interface PageData {
  readonly source: string
  readonly manifest?: string
  readonly shows: Pair
  readonly holds: Pair
  readonly layerCount: number
  readonly layers: readonly PageLayer[]
  readonly unreadable: { readonly count: number; readonly first?: string }
  /** Each after its parent. */
  readonly nodes: readonly NodeRow[]
}

/** Layers that the page shows one by one; those below them are one. `SizeTree` needs the same number. */
export const PAGE_LAYERS = 64

/** Makes the data of the page. The texts are for people: what cannot be printed is an escape. */
export function pageData(report: InspectReport, { usage, tree }: Required<MeasuredUsage>): PageData {
  const { manifestDigest } = report
  const joined = Math.max(0, usage.layers.length - PAGE_LAYERS)
  const lowest = usage.layers.slice(0, joined + 1)
  const layers = usage.layers.slice(joined).map((layer, index): PageLayer => {
    const number = joined + index + 1
    if (index > 0 || joined === 0) {
      const label =
        layer.repeated === true ? `${shortLabel(layer.label)} (counted further up)` : shortLabel(layer.label)
      const stored = report.layers[number - 1]?.size
      return {
        number: String(number),
        name: `layer ${number}`,
        label: printable(label),
        ...omitUndefined({ stored }),
        ...amountsOf([layer]),
      }
    }
    const stored = report.layers.slice(0, joined + 1).reduce((sum, { size }) => sum + size, 0)
    return {
      number: `1–${number}`,
      name: `layers 1–${number}`,
      label: 'the lowest layers',
      stored,
      ...amountsOf(lowest),
    }
  })
  return {
    source: printable(report.source),
    ...(manifestDigest === undefined ? {} : { manifest: printable(manifestDigest) }),
    shows: pair(usage.shows),
    holds: sum(usage.layers.map(({ holds }) => holds)),
    layerCount: usage.layers.length,
    layers,
    unreadable: {
      count: usage.unreadable.count,
      ...(usage.unreadable.first === undefined ? {} : { first: printable(usage.unreadable.first) }),
    },
    nodes: rowsOf(tree),
  }
}

function pair({ entries, bytes }: Amount): Pair {
  return [entries, bytes]
}

function sum(amounts: readonly Amount[]): Pair {
  return [
    amounts.reduce((total, { entries }) => total + entries, 0),
    amounts.reduce((total, { bytes }) => total + bytes, 0),
  ]
}

function amountsOf(
  layers: readonly LayerUsage[],
): Pick<PageLayer, 'holds' | 'adds' | 'replaces' | 'hides' | 'shows'> {
  const of = (name: 'holds' | 'adds' | 'replaces' | 'hides' | 'shows') =>
    sum(layers.map((layer) => layer[name]))
  return {
    holds: of('holds'),
    adds: of('adds'),
    replaces: of('replaces'),
    hides: of('hides'),
    shows: of('shows'),
  }
}

/** A tree may be deeper than calls can be nested. */
function rowsOf(root: SizeNode): readonly NodeRow[] {
  const rows: NodeRow[] = []
  for (const waiting: [SizeNode, number][] = [[root, -1]]; ; ) {
    const next = waiting.pop()
    if (next === undefined) return rows
    const [node, parent] = next
    const sizes = [...node.layers].flatMap(([layer, { held, shown }]) => [layer, held, shown])
    const index = rows.push([parent, node.name, node.isDirectory ? 1 : 0, node.names, sizes]) - 1
    for (const child of node.children) waiting.push([child, index])
  }
}
