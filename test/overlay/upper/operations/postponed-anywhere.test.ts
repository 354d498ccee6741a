import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { WritableTree } from '../../../../overlay/upper/writable-tree.ts'
import { mayPostpone, Postponed, Work } from '../../../../src/base/index.ts'
import { setUmask0 } from '../../../../src/sys/process/session.ts'
import { makeTempDir, needs, Random, removeTempDir, titled } from '../../../library/index.ts'
import { watched } from '../../support/watched.ts'
import { makeLower } from '../support/lowers.ts'
import { describeTree, outcome, randomOperation, updateHeld } from '../support/operations.ts'
import { SnapshotLayer } from '../support/snapshot-layer.ts'
import { TreeSide } from '../support/tree-side.ts'
import { REAL } from '../support.ts'

const STEPS = 200
const MOST_TRIES = 1000

/** Runs each call of the tree again for as long as it is postponed. */
class RetryingSide extends TreeSide {
  postponed = 0
  /** What a call was postponed for. */
  readonly met = new Set<string>()

  override get tree(): WritableTree {
    const tree = super.tree
    return new Proxy(tree, {
      get: (_, property) => {
        const value: unknown = Reflect.get(tree, property, tree)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => this.#retry(() => Reflect.apply(value, tree, args))
      },
    })
  }

  #retry(call: () => unknown): unknown {
    this.met.clear()
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      try {
        return call()
      } catch (error) {
        if (!(error instanceof Postponed)) throw error
        this.postponed += 1
      }
    }
    throw new Error('postponed again and again')
  }
}

function* nothing(): Generator<'more', void> {}

const need = needs('root')

/**
 * The same operations on two trees, one of which has its layers far away: outcomes and trees are the same.
 * @param each read of each call is postponed once; otherwise any read may be, again and again
 */
function compareRandom(seed: number, each: boolean): void {
  const folder = makeTempDir()
  const random = new Random(seed)
  const chances = new Random(seed + 1000)
  let reluctant = false
  let met: Set<string> | undefined
  const onRead = (what: string) => {
    if (!reluctant) return
    expect(mayPostpone(), 'the layers are read before the first change').toBe(true)
    if (each ? met?.has(what) : !chances.chance(0.2)) return
    met?.add(what)
    throw new Postponed(new Work(nothing()))
  }
  const sides: TreeSide[] = []
  try {
    setUmask0()
    const layers = Array.from({ length: random.int(1, 3) }, (_, i) => {
      const path = join(folder, `l${i}`)
      mkdirSync(path)
      makeLower(random, path, { namespace: 'trusted', bottom: i === 0, hardLinks: seed % 2 === 0 })
      return new SnapshotLayer(path, i)
    })
    const place = (name: string) => {
      for (const one of ['u', 'w']) mkdirSync(join(folder, name + one))
      return { upper: join(folder, `${name}u`), work: join(folder, `${name}w`) }
    }
    const policy = {
      ...REAL,
      markers: 'trusted',
      owners: seed % 3 === 2 ? 'override' : 'real',
      whiteouts: (['device', 'wh', 'attribute'] as const)[seed % 3] ?? 'device',
    } as const
    const near = new TreeSide({ lowers: layers, ...place('near') }, policy)
    sides.push(near)
    const far = new RetryingSide(
      { lowers: layers.map((one, i) => watched(one, `layer ${i}`, onRead)), ...place('far') },
      policy,
    )
    sides.push(far)
    met = far.met
    const held = new Set<number>()
    for (let step = 0; step < STEPS; step++) {
      const operation = randomOperation(random, held, 'trusted')
      reluctant = true
      const left = outcome(operation, far)
      reluctant = false
      const right = outcome(operation, near)
      expect(left, `step ${step}: ${operation.text}`).toBe(right)
      updateHeld(held, operation, right)
      if (step % 20 !== 19) continue
      expect(describeTree(far), `after step ${step}: ${operation.text}`).toEqual(describeTree(near))
    }
    expect(far.postponed).toBeGreaterThan(0)
    for (const one of held) for (const side of sides) side.release(one)
    far.forgetAll()
    expect(far.tree.state.nodes).toBe(1)
  } finally {
    for (const side of sides) side.close()
    removeTempDir(folder)
  }
}

describe.skipIf(!need.ok)(titled('postponed operations of a writable tree', need), () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'operations that are postponed at random reads end like operations that are not, seed %i',
    (seed) => compareRandom(seed, false),
  )

  test.each([11, 12, 13])(
    'operations that are postponed once at each read end like operations that are not, seed %i',
    (seed) => compareRandom(seed, true),
  )
})
