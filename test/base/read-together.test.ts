import { describe, expect, test } from 'vitest'
import { FsError, ReadPostponed, readTogether, type Steps, Work } from '../../src/base/index.ts'
import { failsWith, thrownBy } from '../library/expectations.ts'

/** Calls whose bytes are far away, each until its own steps are over. */
function scene(steps: readonly number[]) {
  const left = [...steps]
  const calls: number[] = []
  function* bring(i: number): Steps {
    while ((left[i] ?? 0) > 0) {
      left[i] = (left[i] ?? 0) - 1
      yield i % 2 === 0 ? 'waiting' : 'more'
    }
  }
  const read = (i: number): void => {
    calls.push(i)
    if ((left[i] ?? 0) > 0) throw new ReadPostponed(new Work(bring(i)))
  }
  return { left, calls, read }
}

const postponed = (action: () => void): ReadPostponed => thrownBy(ReadPostponed, action)

describe('readTogether', () => {
  test('makes all calls once where none has to wait', () => {
    const { calls, read } = scene([0, 0, 0])
    readTogether(3, read)
    expect(calls).toEqual([0, 1, 2])
  })

  test('waits once for all that have to wait, begins each at once, and each step is one of each', () => {
    const { left, calls, read } = scene([2, 0, 3, 2])
    const { work } = postponed(() => readTogether(4, read))
    expect(calls).toEqual([0, 1, 2, 3])
    expect(left).toEqual([1, 0, 2, 1])
    expect([work.advance(), work.advance(), work.advance()]).toEqual(['more', 'waiting', 'done'])
    expect(left).toEqual([0, 0, 0, 0])
    readTogether(4, read)
  })

  test('waits for what the caller waits for already, too', () => {
    const { left, read } = scene([0, 1])
    let steps = 3
    function* other(): Steps {
      while (steps-- > 0) yield 'waiting'
    }
    const { work } = postponed(() => readTogether(2, read, new ReadPostponed(new Work(other()))))
    while (work.advance() !== 'done');
    expect([left, steps]).toEqual([[0, 0], -1])
  })

  test('fails as the first call, and a failure behind one that waits counts when that one has read', () => {
    const { calls, left, read } = scene([0, 1, 0])
    const fails = (i: number): void => {
      if (i === 2) throw new FsError('EIO', 'damaged')
      read(i)
    }
    const { work } = postponed(() => readTogether(3, fails))
    while (work.advance() !== 'done');
    failsWith('EIO', () => readTogether(3, fails))
    left[1] = 1
    calls.length = 0
    failsWith('EIO', () => readTogether(2, (i) => fails(i + 2)))
    expect(calls).toEqual([])
  })

  test('throws the error of a work that fails when all are over', () => {
    const { left, read } = scene([0, 2])
    // biome-ignore lint/correctness/useYield: it fails at once
    function* broken(): Steps {
      throw new FsError('EIO', 'no thread')
    }
    const { work } = postponed(() => readTogether(2, read, new ReadPostponed(new Work(broken()))))
    while (work.advance() !== 'done');
    failsWith('EIO', () => work.finish())
    expect(left).toEqual([0, 0])
  })

  test('has so many reads wait at once and no more', () => {
    const { calls, read } = scene(new Array<number>(100).fill(1))
    postponed(() => readTogether(100, read))
    expect(calls.length).toBe(16)
  })

  test('looks for no more where finding them takes long', () => {
    const { calls, read } = scene(new Array<number>(10).fill(1))
    const slow = (i: number): void => {
      for (const end = performance.now() + 3; performance.now() < end; );
      read(i)
    }
    postponed(() => readTogether(10, slow))
    // 5 ms after the first one.
    expect(calls.length).toBeLessThanOrEqual(3)
  })
})
