import { expect, test } from 'vitest'
import { surveyLayers } from '../../../overlay/index.ts'
import { formatPage, PAGE_LAYERS, pageData } from '../../../src/cli/page/index.ts'
import { SizeTree } from '../../../src/molecule/usage/size-tree.ts'
import { UsageCounter } from '../../../src/molecule/usage/usage-counter.ts'
import { layer } from '../../overlay/support/memory-layer.ts'

test('of more layers than a page shows the lowest are one, and the sums stay', () => {
  const count = PAGE_LAYERS + 6
  const layers = Array.from({ length: count }, (_, index) =>
    layer(`sha256:${index}`, `file${index} = x\nsame = ${'y'.repeat(index)}\n<\u001b\u009f = z`),
  )
  const tree = new SizeTree(10_000, count - PAGE_LAYERS)
  const counter = new UsageCounter(
    layers.map(({ label }) => ({ label, repeated: false })),
    3,
    tree,
  )
  for (const names of surveyLayers(layers, counter)) expect(names).toBeGreaterThan(0)
  const data = pageData({ source: '<\udcff', layers: [] }, { usage: counter.report, tree: tree.finish() })
  expect(data.layers).toHaveLength(PAGE_LAYERS)
  // Seven layers with three names each, of which their own file shows.
  expect(data.layers[0]).toMatchObject({ name: 'layers 1–7', holds: [21, 35], adds: [9, 8], shows: [7, 7] })
  expect(data.layers.at(-1)).toMatchObject({ name: `layer ${count}`, label: `sha256:${count - 1}` })
  expect(data.holds[0]).toBe(3 * count)
  expect(data.shows).toEqual([count + 2, count + count - 1 + 1])
  const indexes = new Set(data.nodes.flatMap(([, , , , sizes]) => sizes.filter((_, at) => at % 3 === 0)))
  expect([...indexes].sort((a, b) => a - b)).toEqual([...Array(PAGE_LAYERS).keys()])
  expect(data.nodes.map(([, name]) => name)).toContain('<\\x1b\\x9f')

  const page = formatPage(data)
  expect(page).toContain('<title>&lt;\\xff</title>')
  const [, json = ''] = /<script type="application\/json" id="data">([^<]*)<\/script>/.exec(page) ?? []
  expect(JSON.parse(json)).toEqual(data)
})
