import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs'
import { copyRange, fallocateFd } from '../../../src/sys/files/file-io.ts'
import { dropPages, readMapped } from '../programs/direct-io.ts'
import { Random } from '../trees/random.ts'
import { writeMapped } from './mapping.ts'

/**
 * The program of the exerciser: one file, changed at random by all ways that lead to its data, and compared with a copy
 * in memory. `FILE SEED STEPS`. The file may exist, for instance in a layer. Prints how many steps of each kind it made.
 */

const SIZE_MAX = 3_000_000
const PIECE_MAX = 200_000
/** linux/falloc.h */
const KEEP_SIZE = 1
const PUNCH_HOLE = 2
const ZERO_RANGE = 16

class Exerciser {
  readonly #path: string
  readonly #random: Random
  readonly #made = new Map<string, number>()
  readonly #log: string[] = []
  /** What the file must hold. */
  #model: Buffer
  #fd: number
  /** Opened before the first change: it must show them all. */
  readonly #reader: number

  constructor(path: string, seed: number) {
    this.#path = path
    this.#random = new Random(seed)
    closeSync(openSync(path, constants.O_CREAT | constants.O_RDONLY, 0o644))
    this.#reader = openSync(path, constants.O_RDONLY)
    this.#model = readAll(this.#reader)
    this.#fd = openSync(path, constants.O_RDWR)
  }

  run(steps: number): string {
    for (let i = 0; i < steps; i += 1) {
      const name = this.#step()
      this.#made.set(name, (this.#made.get(name) ?? 0) + 1)
      if (i % 100 === 99) this.#compare(0, this.#model.length)
    }
    this.#reopen()
    this.#compare(0, this.#model.length)
    closeSync(this.#fd)
    closeSync(this.#reader)
    return JSON.stringify(Object.fromEntries(this.#made))
  }

  #step(): string {
    const random = this.#random
    const size = this.#model.length
    const offset = random.int(0, random.chance(0.1) ? SIZE_MAX : size)
    // Small pieces at odd places, and large ones that begin and end with pages.
    const length = random.chance(0.5) ? random.int(1, 5000) : 4096 * random.int(1, PIECE_MAX / 4096)
    const roll = random.int(0, 99)
    if (roll < 25) return this.#write(offset, length)
    if (roll < 40) return this.#map(offset, length)
    if (roll < 55) return this.#note('read', offset, length, () => this.#compare(offset, length))
    if (roll < 65) return this.#truncate(random.chance(0.3) ? random.int(0, SIZE_MAX) : offset)
    if (roll < 75) return this.#allocate(offset, length)
    if (roll < 82) return this.#copy(offset, random.int(0, size), length)
    if (roll < 86) return this.#note('fsync', 0, 0, () => fsyncSync(this.#fd))
    if (roll < 90) return this.#note('append', size, length, () => this.#append(length))
    if (roll < 95) return this.#note('drop', 0, 0, () => this.#drop())
    return this.#note('reopen', 0, 0, () => this.#reopen())
  }

  #write(offset: number, length: number): string {
    const data = this.#random.bytes(length)
    return this.#note('write', offset, length, () => {
      writeAll(this.#fd, data, offset)
      this.#resize(Math.max(this.#model.length, offset + length))
      data.copy(this.#model, offset)
    })
  }

  #append(length: number): void {
    const data = this.#random.bytes(length)
    const fd = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND)
    try {
      writeAll(fd, data)
    } finally {
      closeSync(fd)
    }
    this.#model = Buffer.concat([this.#model, data])
  }

  #map(offset: number, length: number): string {
    const data = this.#random.bytes(Math.max(0, Math.min(length, this.#model.length - offset)))
    return this.#note('map', offset, data.length, () => {
      if (data.length === 0) return
      writeMapped(this.#fd, offset, data, this.#random.chance(0.3))
      data.copy(this.#model, offset)
    })
  }

  #truncate(size: number): string {
    return this.#note('truncate', size, 0, () => {
      ftruncateSync(this.#fd, size)
      this.#resize(size)
    })
  }

  #allocate(offset: number, length: number): string {
    const mode = this.#random.pick([0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
    return this.#note(`fallocate ${mode}`, offset, length, () => {
      fallocateFd(this.#fd, mode, offset, length)
      if ((mode & KEEP_SIZE) === 0) this.#resize(Math.max(this.#model.length, offset + length))
      if ((mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0) this.#model.subarray(offset, offset + length).fill(0)
    })
  }

  /** Within the file itself, where the ranges do not overlap. */
  #copy(from: number, to: number, length: number): string {
    return this.#note('copy', from, length, () => {
      if (Math.abs(from - to) < length) return
      const count = copyRange(this.#reader, from, this.#fd, to, length)
      const data = Buffer.from(this.#model.subarray(from, from + count))
      this.#resize(Math.max(this.#model.length, to + count))
      data.copy(this.#model, to)
    })
  }

  /** The next reads come from the file system, not from the page cache. */
  #drop(): void {
    fsyncSync(this.#fd)
    dropPages(this.#fd)
  }

  #reopen(): void {
    closeSync(this.#fd)
    this.#fd = openSync(this.#path, constants.O_RDWR)
  }

  #resize(size: number): void {
    if (size <= this.#model.length) this.#model = this.#model.subarray(0, size)
    else this.#model = Buffer.concat([this.#model, Buffer.alloc(size - this.#model.length)])
  }

  #note(name: string, offset: number, length: number, action: () => void): string {
    this.#log.push(`${name} ${offset} ${length}, size ${this.#model.length}`)
    if (this.#log.length > 30) this.#log.shift()
    action()
    return name
  }

  #compare(offset: number, length: number): void {
    const expected = this.#model.subarray(offset, offset + length)
    for (const fd of [this.#fd, this.#reader]) {
      const { size } = fstatSync(fd)
      if (size !== this.#model.length) this.#fail(`size ${size}, expected ${this.#model.length}`)
      const data = Buffer.alloc(length)
      const count = readSync(fd, data, 0, length, offset)
      this.#assertEqual(`read ${offset}+${length}`, data.subarray(0, count), expected)
      if (expected.length > 0) this.#assertEqual('map', readMapped(fd, offset, expected.length), expected)
    }
  }

  #assertEqual(what: string, data: Buffer, expected: Buffer): void {
    if (data.equals(expected)) return
    const at = data.findIndex((byte, i) => byte !== expected[i])
    this.#fail(`${what}: ${data.length} bytes of ${expected.length}, the first that differs is ${at}`)
  }

  #fail(message: string): never {
    throw new Error(`${message}\nafter:\n${this.#log.join('\n')}`)
  }
}

function writeAll(fd: number, data: Buffer, offset: number | null = null): void {
  const count = writeSync(fd, data, 0, data.length, offset)
  if (count !== data.length) throw new Error(`wrote ${count} of ${data.length} bytes`)
}

function readAll(fd: number): Buffer {
  const data = Buffer.alloc(fstatSync(fd).size)
  return data.subarray(0, readSync(fd, data, 0, data.length, 0))
}

const [path, seed, steps] = process.argv.slice(2)
if (path === undefined) throw new Error('usage: changes-exerciser FILE SEED STEPS')
process.stdout.write(new Exerciser(path, Number(seed)).run(Number(steps)))
