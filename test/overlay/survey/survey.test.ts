import { describe, expect, test } from 'vitest'
import { adapted, type SurveyedEntry, type SurveySink, surveyLayers } from '../../../overlay/index.ts'
import { DT_REG, type FsError, type Layer, NO_MARKS } from '../../../src/base/index.ts'
import { Random } from '../../library/trees/random.ts'
import { layer } from '../support/memory-layer.ts'
import { applyLayer, isDir, type ModelNode, randomLayer, toLayer } from '../support/model.ts'

/** What a layer does, as sorted lines `adds /path 12`. */
class Lines implements SurveySink {
  readonly #path: string[] = []
  readonly lines: string[][]
  readonly shown: string[] = []
  readonly errors: string[] = []
  readonly marks: string[] = []

  constructor(layers: number) {
    this.lines = Array.from({ length: layers }, () => [])
  }

  name(name: string, entries: readonly SurveyedEntry[], shown: SurveyedEntry | undefined): void {
    const path = [...this.#path, name].join('/')
    this.#path.push(name)
    for (const { layer: at, effect, size } of entries) this.lines[at]!.push(`${effect} ${path} ${size}`)
    this.#path.pop()
    if (shown !== undefined) this.shown.push(`${path} of ${shown.layer}`)
  }

  hides(at: number, { type, size, layer: below }: SurveyedEntry): void {
    expect(below).toBeLessThan(at)
    this.lines[at]!.push(`hides ${type === DT_REG ? size : 0}`)
  }

  mark(at: number, kind: string): void {
    this.marks.push(`${kind} ${at}`)
  }

  enter(name: string): void {
    this.#path.push(name)
  }

  leave(): void {
    expect(this.#path.pop()).toBeDefined()
  }

  unreadable({ message }: FsError): void {
    this.errors.push(message)
  }
}

function survey(layers: readonly Layer[]): Lines {
  const lines = new Lines(layers.length)
  for (const names of surveyLayers(layers, lines)) expect(names).toBeGreaterThan(0)
  for (const list of [...lines.lines, lines.shown]) list.sort()
  return lines
}

function sizeOf({ mode, content }: ModelNode): number {
  return mode >>> 12 === DT_REG ? content.length : 0
}

/** What the step from one tree to the next is, by the model that knows trees only. */
function difference(before: ModelNode | undefined, after: ModelNode | undefined, path: string): string[] {
  const names = new Set([...(before?.children.keys() ?? []), ...(after?.children.keys() ?? [])])
  return [...names].flatMap((name) => {
    const old = before?.children.get(name)
    const now = after?.children.get(name)
    if (old === now) return []
    const place = `${path}/${name}`
    const below = difference(old, now, place)
    if (now === undefined) return [`hides ${sizeOf(old!)}`, ...below]
    const effect = old === undefined ? 'adds' : isDir(now) && now.depth > 1 ? 'merges' : 'replaces'
    return [`${effect} ${place} ${sizeOf(now)}`, ...below]
  })
}

function pathsOf(node: ModelNode, path: string): string[] {
  return [...node.children].flatMap(([name, child]) => [
    `${path}/${name}`,
    ...pathsOf(child, `${path}/${name}`),
  ])
}

test('what each layer of 120 random stacks adds, replaces and hides is the difference of the trees before and after', () => {
  const counts: Record<string, number> = {}
  for (let seed = 1; seed <= 120; seed++) {
    const random = new Random(seed)
    const stored = Array.from({ length: random.int(1, 6) }, () => randomLayer(random, random.int(0, 2)))
    const { lines, shown, errors } = survey(stored.map((one, index) => toLayer(`layer ${index}`, one)))
    expect(errors, `seed ${seed}`).toEqual([])
    let tree: ModelNode | undefined
    for (const [index, one] of stored.entries()) {
      const before = tree
      tree = applyLayer(before, one)
      const expected = difference(before, tree, '').sort()
      expect(lines[index], `seed ${seed} layer ${index}`).toEqual(expected)
      for (const line of expected) {
        const word = line.slice(0, line.indexOf(' '))
        counts[word] = (counts[word] ?? 0) + 1
      }
    }
    expect(
      shown.map((line) => line.replace(/ of \d+$/, '')),
      `seed ${seed}`,
    ).toEqual(pathsOf(tree!, '').sort())
  }
  // The generator must go on producing something worth comparing.
  for (const word of ['adds', 'merges', 'replaces', 'hides']) expect(counts[word], word).toBeGreaterThan(100)
})

describe('a survey', () => {
  test('a layer that stands twice is seen where it is topmost', () => {
    const lower = layer('lower', 'a = 1\nb = 22')
    const upper = layer('upper', 'a c 0 0\nc')
    const { lines, shown } = survey([lower, upper, lower])
    expect(lines).toEqual([[], ['adds /c 0'], ['adds /a 1', 'adds /b 2']])
    expect(shown).toEqual(['/a of 2', '/b of 2', '/c of 1'])
  })

  test('names of a layer without marks are what they are, and nothing hides what is below', () => {
    const lower = layer('lower', 'a\n.wh.b')
    const upper = layer('upper', '.wh.a\n.wh..wh..opq\nx c 0 0')
    const { lines, marks } = survey([lower, upper].map((one) => adapted(one, NO_MARKS)))
    expect(lines).toEqual([
      ['adds /.wh.b 0', 'adds /a 0'],
      ['adds /.wh..wh..opq 0', 'adds /.wh.a 0', 'adds /x 0'],
    ])
    expect(marks).toEqual([])
  })

  test('damage is told, and its neighbours are seen', () => {
    const lower = layer('lower', 'a = 1\nb/c\nd/e')
    lower.damage('a')
    lower.brokenNames.add('c')
    const upper = layer('upper', 'd/ {trusted.overlay.redirect=b}\nd/f')
    const { lines, errors } = survey([lower, upper])
    expect(lines).toEqual([
      ['adds /b 0', 'adds /d 0', 'adds /d/e 0'],
      ['adds /d/f 0', 'merges /d 0'],
    ])
    expect(errors.sort()).toEqual([
      'layer lower: entry c',
      'layer lower: inode 1 is damaged',
      'layer upper: a directory was renamed in an overlay, and is shown without what it has below',
    ])
  })

  test('marks are counted by their layer, those that hide nothing too', () => {
    const lower = layer('lower', 'd/x\ne/y')
    const upper = layer('upper', 'd/.wh..wh..opq\nd/.wh.nothing\ne/y c 0 0\ngone c 0 0\nnew/.wh..wh..opq')
    expect(survey([lower, upper]).marks.sort()).toEqual([
      'opaque 1',
      'whiteout 1',
      'whiteout 1',
      'whiteout 1',
    ])
  })

  test('directories of 30 000 levels need no stack, and no layers are an error', () => {
    const deep = layer('deep', '')
    let at = deep.root
    for (let level = 0; level < 30_000; level++) at = deep.add(at, 'd', { mode: 0o40755 })
    deep.add(at, 'end', { mode: 0o100644 })
    let entered = 0
    const nothing = (): void => undefined
    const sink = { name: nothing, hides: nothing, mark: nothing, leave: nothing, unreadable: nothing }
    for (const names of surveyLayers([deep], { ...sink, enter: () => entered++ }))
      expect(names).toBeGreaterThan(0)
    expect(entered).toBe(30_001)
    expect(() => surveyLayers([], { ...sink, enter: nothing }).next()).toThrow('no layers')
  })
})
