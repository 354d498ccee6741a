import { expect, test } from 'vitest'
import { changing, ReadPostponed, Turn } from '../../src/base/index.ts'

function outcomes(turn: Turn, calls: number): boolean[] {
  return Array.from({ length: calls }, () => {
    try {
      turn.pause()
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(ReadPostponed)
      return false
    }
  })
}

test('a walk is interrupted in requests only, and never at its first place', () => {
  const turn = new Turn(0)
  expect(outcomes(turn, 3)).toEqual([true, true, true])
  turn.begin()
  expect(outcomes(turn, 3)).toEqual([true, false, true])
  expect(changing(() => outcomes(turn, 3))).toEqual([true, true, true])
  const { baggage } = turn
  turn.end()
  turn.begin(baggage)
  expect(outcomes(turn, 2)).toEqual([true, false])
  turn.end()
  expect(outcomes(turn, 2)).toEqual([true, true])
})

test('a walk that has its time is not interrupted', () => {
  const turn = new Turn(60_000)
  turn.begin()
  expect(outcomes(turn, 5)).toEqual([true, true, true, true, true])
  turn.end()
})

test('the request goes on when others had their turn', () => {
  const turn = new Turn(0)
  turn.begin()
  turn.pause()
  let postponed: ReadPostponed | undefined
  try {
    turn.pause()
  } catch (error) {
    if (error instanceof ReadPostponed) postponed = error
  }
  turn.end()
  expect(postponed?.work.advance()).toBe('more')
  while (postponed?.work.advance() === 'more');
  expect(postponed?.work.isDone).toBe(true)
})
