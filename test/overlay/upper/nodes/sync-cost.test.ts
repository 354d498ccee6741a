import { expect, test } from 'vitest'
import { Node } from '../../../../overlay/upper/nodes/nodes.ts'
import { SyncCost } from '../../../../overlay/upper/nodes/sync-cost.ts'

const MIB = 1 << 20
const [FILE, OTHER] = [1, 2].map((id) => new Node(id, 8, id, undefined)) as [Node, Node]

/** As if a sync that took so many milliseconds ended now. */
function noteSync(cost: SyncCost, milliseconds: number, node?: Node): void {
  cost.noteSync(performance.now() - milliseconds, node)
}

test('the sync cost is unknown before the first sync', () => {
  expect(new SyncCost().isShort(0)).toBe(false)
})

test('a sync of few bytes counts as short if the last sync was short', () => {
  const cost = new SyncCost()
  noteSync(cost, 0)
  expect([cost.isShort(0), cost.isShort(MIB), cost.isShort(MIB + 1)]).toEqual([true, true, false])
  noteSync(cost, 50)
  expect(cost.isShort(0)).toBe(false)
})

test('bytes written to a file count until that file is synced', () => {
  const cost = new SyncCost()
  cost.noteWrite(FILE, MIB)
  cost.noteWrite(FILE, 5)
  noteSync(cost, 0, OTHER)
  expect([cost.written(FILE), cost.written(OTHER)]).toEqual([MIB + 5, 0])
  noteSync(cost, 0, FILE)
  expect(cost.written(FILE)).toBe(0)
})
