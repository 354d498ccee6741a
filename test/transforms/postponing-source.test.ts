import { describe, expect, test } from 'vitest'
import {
  Baggage,
  type ByteSource,
  changing,
  type Fetch,
  FsError,
  type Piece,
  Postponed,
  readTogether,
  Turn,
} from '../../src/base/index.ts'
import { LOOK_MS, NO_LOOK_MS, Patience, PostponingSource } from '../../src/transforms/postponing-source.ts'

const SIZE = 1 << 20
const MOST_STEPS = 1000
const TICK_MS = 0.125
const byteAt = (position: number): number => (position * 7 + (position >>> 8)) & 0xff

/** A disk of which a test says what is at hand, and another thread that brings what the test lets it bring. */
function scene() {
  const atHand: [number, number][] = []
  const reads: [number, number][] = []
  const asked: [number, number, number][] = []
  const failures = new Map<number, FsError>()
  /** What is asked for at these positions never comes. */
  const lost = new Set<number>()
  /** What is asked for at these is not there at the first poll. */
  const late = new Set<number>()
  /** Each look at it takes some time. */
  const clock = { ms: 0 }
  const now = (): number => {
    clock.ms += TICK_MS
    return clock.ms
  }
  /** Called for each question whether something is at hand. */
  const onQuestion = { call: (): void => {} }
  const disk: ByteSource = {
    size: SIZE,
    label: 'disk',
    readInto(position, target) {
      reads.push([position, target.length])
      for (let i = 0; i < target.length; i++) target[i] = byteAt(position + i)
    },
    isAtHand(position, length) {
      onQuestion.call()
      return atHand.some(([start, end]) => position >= start && position + length <= end)
    },
  }
  const fetch = (source: number, position: number, length: number): Fetch => {
    asked.push([source, position, length])
    return {
      poll(): Piece | undefined {
        if (lost.has(position) || late.delete(position)) return undefined
        const content = failures.get(position) ?? Uint8Array.from({ length }, (_, i) => byteAt(position + i))
        return { source, position, length, content }
      },
    }
  }
  const fetcher = { most: 65_536, ready: true, fetch }
  const turn = new Turn()
  const source = new PostponingSource(disk, 3, new Patience(turn, fetcher, now))
  const read = (position: number, length: number): number[] => {
    const target = new Uint8Array(length)
    source.readInto(position, target)
    return [...target]
  }
  /** A request that is postponed until it is not any more. */
  const request = <T>(handle: () => T): { rounds: number; result: T } => {
    let baggage: Baggage | undefined
    for (let rounds = 1; ; rounds++) {
      turn.begin(baggage)
      try {
        return { rounds, result: handle() }
      } catch (error) {
        if (!(error instanceof Postponed)) throw error
        baggage = turn.baggage
        for (let steps = 0; error.work.advance() !== 'done'; steps++) {
          if (steps > MOST_STEPS) throw new Error('the work does not end')
        }
      } finally {
        turn.end()
      }
    }
  }
  return { atHand, reads, asked, failures, lost, late, clock, onQuestion, turn, fetcher, read, request }
}

const expected = (position: number, length: number) => Array.from({ length }, (_, i) => byteAt(position + i))

describe('a source that postpones', () => {
  test('a postponing source waits for the disk if no loader is set', () => {
    const { asked, fetcher, read, request } = scene()
    fetcher.ready = false
    expect(request(() => read(4096, 4))).toEqual({ rounds: 1, result: expected(4096, 4) })
    fetcher.ready = true
    expect(request(() => read(4096, 4)).rounds).toBe(2)
    expect(asked.length).toBe(1)
  })

  test('a postponing source reads data at hand at once, and reads all data at once outside of requests', () => {
    const { atHand, reads, asked, read, request } = scene()
    expect(read(5000, 10)).toEqual(expected(5000, 10))
    atHand.push([0, 4096])
    expect(request(() => read(100, 20))).toEqual({ rounds: 1, result: expected(100, 20) })
    expect(asked).toEqual([])
    expect(reads.length).toBe(2)
  })

  test('a postponing source reads itself what the disk brings while it looks again', () => {
    const { atHand, asked, onQuestion, read, request } = scene()
    let questions = 0
    onQuestion.call = () => {
      questions += 1
      if (questions === 3) atHand.push([4096, 8192])
    }
    expect(request(() => read(4096, 4096))).toEqual({ rounds: 1, result: expected(4096, 4096) })
    expect(asked).toEqual([])
    expect(questions).toBe(3)
  })

  test('a postponing source that looked in vain does not look for a while', () => {
    const { clock, onQuestion, read, request } = scene()
    let questions = 0
    onQuestion.call = () => {
      questions += 1
    }
    const asks = (position: number): number => {
      questions = 0
      expect(request(() => read(position, 16)).rounds).toBe(2)
      return questions
    }
    const start = clock.ms
    const looked = asks(4096)
    expect(clock.ms - start).toBeLessThanOrEqual(LOOK_MS + 2 * TICK_MS)
    expect(looked).toBeGreaterThan(asks(8192))
    clock.ms += NO_LOOK_MS
    expect(asks(16_384)).toBe(looked)
  })

  test('a postponing source has absent data loaded in pieces, and does not read it itself', () => {
    const { reads, asked, read, request } = scene()
    expect(request(() => read(9000, 70_000))).toEqual({ rounds: 3, result: expected(9000, 70_000) })
    expect(asked).toEqual([
      [3, 9000, 65_536],
      [3, 9000 + 65_536, 70_000 - 65_536],
    ])
    expect(reads).toEqual([])
  })

  test('a postponing source keeps loaded data of any size until the request is handled', () => {
    const { reads, asked, read, request } = scene()
    const places = Array.from({ length: 100 }, (_, i) => i * 4096)
    const { rounds, result } = request(() => places.map((position) => read(position, 16)[3]))
    expect(result).toEqual(places.map((position) => byteAt(position + 3)))
    expect(rounds).toBe(101)
    expect(asked.length).toBe(100)
    // Those that had to make room are read where they are: they were brought a moment ago.
    expect(reads.length).toBeGreaterThan(0)
  })

  test('a postponing source shares the last loaded data with other requests', () => {
    const { asked, read, request } = scene()
    request(() => read(4096, 4096))
    expect(request(() => read(5000, 100))).toEqual({ rounds: 1, result: expected(5000, 100) })
    expect(asked.length).toBe(1)
  })

  test('reads that wait together end with the piece that holds what all of them want', () => {
    const { asked, late, lost, read, request } = scene()
    late.add(4096)
    lost.add(5000)
    const both = (): number[][] => {
      const found: number[][] = []
      readTogether(2, (i) => found.push(i === 0 ? read(4096, 4096) : read(5000, 100)))
      return found
    }
    expect(request(both)).toEqual({ rounds: 2, result: [expected(4096, 4096), expected(5000, 100)] })
    expect(asked.map(([, position]) => position)).toEqual([4096, 5000])
  })

  test('a load error is reported to a request once, and the next request tries again', () => {
    const { asked, failures, read, request } = scene()
    failures.set(4096, new FsError('ENOTCONN', 'read at 4096: ENOTCONN (errno 107)'))
    for (let i = 0; i < 2; i++) {
      expect(() => request(() => read(4096, 4096))).toThrow(
        expect.objectContaining({ code: 'EIO', message: 'disk: read at 4096: ENOTCONN (errno 107)' }),
      )
    }
    expect(asked.length).toBe(2)
    failures.clear()
    expect(request(() => read(4096, 4096)).result).toEqual(expected(4096, 4096))
  })

  test('after a failed load, a shorter read in the same request is loaded anew', () => {
    const { failures, asked, read, request } = scene()
    failures.set(4096, new FsError('EIO', 'read at 4096'))
    const { result } = request(() => {
      try {
        return read(4096, 16_384)
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        failures.clear()
        return read(4096, 2)
      }
    })
    expect(result).toEqual(expected(4096, 2))
    expect(asked.map(([, , length]) => length)).toEqual([16_384, 2])
  })

  test('a postponing source waits for the disk after a request has made a change or was postponed too often', () => {
    const { reads, turn, read, request } = scene()
    expect(
      request(() => {
        return changing(() => read(0, 4))
      }).rounds,
    ).toBe(1)
    const tired = new Baggage()
    while (!tired.isTired) tired.countRound()
    turn.begin(tired)
    expect(read(8192, 4)).toEqual(expected(8192, 4))
    turn.end()
    expect(reads.length).toBe(2)
  })

  test('a postponing source refuses a read outside of its range at once', () => {
    const { asked, read, request } = scene()
    expect(() => request(() => read(SIZE - 2, 4))).toThrow(/outside/)
    expect(asked).toEqual([])
  })
})
