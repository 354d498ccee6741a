import type { Random } from '../trees/random.ts'

/**
 * Files whose every page tells who wrote it, steps that change them, one system call each, and what may be seen of
 * them after the server of the file system was killed in the middle of one.
 */

export const PAGE = 4096
/** Modification time of everything in the layer: a copy has it too, until it is written to. */
export const LAYER_TIME = 1_000_000_000
export const LAYER_MODE = 0o640

export type CrashStep =
  | { readonly call: 'write' | 'map'; readonly name: string; readonly from: number; readonly count: number }
  | { readonly call: 'truncate'; readonly name: string; readonly pages: number }
  | { readonly call: 'chmod'; readonly name: string; readonly mode: number }
  | { readonly call: 'create' | 'mark' | 'unlink' | 'fsync'; readonly name: string }
  /** `swap` exchanges two directories. */
  | { readonly call: 'link' | 'rename' | 'swap'; readonly name: string; readonly other: string }

/** A line of the diary of the program that makes the steps. A step without an end was under way. */
export type DiaryLine =
  | { readonly n: number; readonly step: CrashStep }
  | { readonly n: number; readonly ok: boolean }

/** What is seen of one name; names with the same `inode` are links. */
export interface SeenFile {
  readonly inode: string
  /** For each page the number of the step that wrote it, 0 for the layer, -1 for what nobody has written. */
  readonly pages: readonly number[]
  readonly mode: number
  /** Of the attribute `user.mark`, 0 if there is none. */
  readonly mark: number
  readonly mtime: number
}

export type SeenFiles = Readonly<Record<string, SeenFile>>

const DIRECTORIES = ['', 'd0/', 'd1/', 'd1/e/']
/** Each with its length in the layer; `h` has all of its names in one inode. */
const FILES: Readonly<Record<string, number>> = { a: 3, b: 300, c: 40, h: 20 }
const NAMES = DIRECTORIES.flatMap((directory) => Object.keys(FILES).map((name) => directory + name))
const PAGES_MAX = 320

/** Names and lengths in pages of what the layer holds. */
export function layerFiles(): ReadonlyMap<string, number> {
  return new Map(NAMES.map((name) => [name, FILES[name.slice(-1)] ?? 0]))
}

/** @param writer number of the step, 0 for the layer */
export function pageBytes(writer: number, page: number): Buffer {
  return Buffer.alloc(PAGE, `step ${writer} page ${page} `)
}

/** @param grows steps may make files shorter, and longer by a write */
export function randomStep(random: Random, grows: boolean): CrashStep {
  const [name, other] = [random.pick(NAMES), random.pick(NAMES)]
  const [from, count] = [random.int(0, 60), random.int(1, 40)]
  const roll = random.int(0, 99)
  if (roll < 25) return { call: 'write', name, from, count }
  if (roll < 35) return { call: 'map', name, from, count }
  if (roll < 45) return { call: 'fsync', name }
  if (roll < 52 && grows) return { call: 'truncate', name, pages: random.int(0, PAGES_MAX) }
  if (roll < 60) return { call: 'chmod', name, mode: random.pick([0o600, 0o644, 0o751]) }
  if (roll < 66) return { call: 'mark', name }
  if (roll < 75) return { call: 'create', name }
  if (roll < 81) return { call: 'link', name, other }
  if (roll < 87) return { call: 'unlink', name }
  if (roll < 97) return { call: 'rename', name, other }
  return { call: 'swap', name: 'd0', other: 'd1' }
}

/** What a file may look like. Of several possibilities the last one is the newest. */
interface Expected {
  /** For each page those that may have written it. */
  pages: number[][]
  /** Pages there are at least: a write under way may not have made it longer yet. */
  least: number
  mode: number
  mark: number
  /** It may have the time of the layer, respectively another one. */
  times: { old: boolean; recent: boolean }
}

/** The files as they must be, from what was seen at the start and from the diary since. */
export class CrashModel {
  readonly #names: Map<string, Expected>
  readonly #delayed: boolean

  /** @param delayed what was written need not be there before fsync */
  private constructor(names: Map<string, Expected>, delayed: boolean) {
    this.#names = names
    this.#delayed = delayed
  }

  static of(seen: SeenFiles, delayed: boolean): CrashModel {
    const inodes = new Map<string, Expected>()
    const names = new Map<string, Expected>()
    for (const [name, file] of Object.entries(seen)) {
      const old = file.mtime === LAYER_TIME
      const expected = inodes.get(file.inode) ?? {
        pages: file.pages.map((writer) => [writer]),
        least: file.pages.length,
        mode: file.mode,
        mark: file.mark,
        times: { old, recent: !old },
      }
      inodes.set(file.inode, expected)
      names.set(name, expected)
    }
    return new CrashModel(names, delayed)
  }

  copy(): CrashModel {
    const copies = new Map<Expected, Expected>()
    const names = new Map<string, Expected>()
    for (const [name, file] of this.#names) {
      const pages = file.pages.map((writers) => [...writers])
      const copy = copies.get(file) ?? { ...file, pages, times: { ...file.times } }
      copies.set(file, copy)
      names.set(name, copy)
    }
    return new CrashModel(names, this.#delayed)
  }

  /** Everything that is under way may have happened or not. */
  apply(n: number, step: CrashStep, isDone: boolean): void {
    if (step.call === 'swap') {
      this.#swap(step.name, step.other)
      return
    }
    const file = this.#names.get(step.name)
    if (step.call === 'create') {
      const times = { old: false, recent: true }
      this.#names.set(step.name, { pages: [], least: 0, mode: 0o600, mark: 0, times })
    }
    if (file === undefined) return
    if (step.call === 'write' || step.call === 'map') this.#write(file, n, step, isDone)
    if (step.call === 'truncate') {
      file.pages = Array.from({ length: step.pages }, (_, i) => file.pages[i] ?? [HOLE])
      file.least = step.pages
      file.times = { old: false, recent: true }
    }
    if (step.call === 'fsync' && isDone) settle(file)
    if (step.call === 'chmod') file.mode = step.mode
    if (step.call === 'mark') file.mark = n
    if (step.call === 'unlink') this.#names.delete(step.name)
    if (step.call === 'link') this.#names.set(step.other, file)
    if (step.call === 'rename' && file !== this.#names.get(step.other)) {
      this.#names.delete(step.name)
      this.#names.set(step.other, file)
    }
  }

  #write(file: Expected, n: number, step: CrashStep & { call: 'write' | 'map' }, isDone: boolean): void {
    const { length } = file.pages
    // A store beyond the end is not made; nor is a write where lengths are not to change.
    const end =
      step.call === 'map' || this.#delayed ? Math.min(step.from + step.count, length) : step.from + step.count
    if (end <= step.from) return
    for (let page = length; page < Math.min(end, step.from); page += 1) file.pages[page] = [HOLE]
    for (let page = step.from; page < end; page += 1) file.pages[page] = [...(file.pages[page] ?? [HOLE]), n]
    file.times.recent = true
    if (!isDone) return
    // A store is written back before its step ends.
    if (step.call === 'map' || !this.#delayed) settle(file)
  }

  #swap(one: string, two: string): void {
    const moved = [...this.#names].map(([name, file]): [string, Expected] => {
      if (name.startsWith(`${one}/`)) return [two + name.slice(one.length), file]
      return name.startsWith(`${two}/`) ? [one + name.slice(two.length), file] : [name, file]
    })
    this.#names.clear()
    for (const [name, file] of moved) this.#names.set(name, file)
  }

  /** What contradicts it, one line for each file; empty where all is well. */
  differences(seen: SeenFiles): string[] {
    const lines: string[] = []
    for (const name of new Set([...this.#names.keys(), ...Object.keys(seen)])) {
      const [expected, file] = [this.#names.get(name), seen[name]]
      if (expected === undefined) lines.push(`${name}: should not be there`)
      else if (file === undefined) lines.push(`${name}: missing`)
      else lines.push(...compare(name, file, expected))
    }
    return [...lines, ...this.#linkDifferences(seen)]
  }

  #linkDifferences(seen: SeenFiles): string[] {
    const inodes = new Map<Expected, string>()
    const files = new Map<string, Expected>()
    const lines: string[] = []
    for (const [name, file] of this.#names) {
      const inode = seen[name]?.inode
      if (inode === undefined) continue
      const [known, other] = [inodes.get(file), files.get(inode)]
      if ((known ?? inode) !== inode || (other ?? file) !== file) lines.push(`${name}: links to another file`)
      inodes.set(file, inode)
      files.set(inode, file)
    }
    return lines
  }
}

/** A page that nobody has written since the file was made longer. */
export const HOLE = -2

function settle(file: Expected): void {
  file.pages = file.pages.map((writers) => writers.slice(-1))
  file.least = file.pages.length
  if (file.times.recent) file.times.old = false
}

function compare(name: string, file: SeenFile, expected: Expected): string[] {
  const { length } = file.pages
  const lines: string[] = []
  if (length < expected.least || length > expected.pages.length)
    lines.push(`${name}: ${length} pages, expected ${expected.least} to ${expected.pages.length}`)
  const wrong = file.pages.findIndex((writer, i) => !expected.pages[i]?.includes(writer))
  if (wrong >= 0)
    lines.push(`${name}: page ${wrong} is of ${file.pages[wrong]}, expected ${expected.pages[wrong]}`)
  if (file.mode !== expected.mode)
    lines.push(`${name}: mode ${file.mode.toString(8)}, expected ${expected.mode.toString(8)}`)
  if (file.mark !== expected.mark) lines.push(`${name}: mark ${file.mark}, expected ${expected.mark}`)
  const isOld = file.mtime === LAYER_TIME
  if (isOld ? !expected.times.old : !expected.times.recent)
    lines.push(`${name}: modified at ${file.mtime}, expected ${isOld ? 'later' : LAYER_TIME}`)
  return lines
}

/** What contradicts a diary; the step under way may have happened, or not, or, if it writes, in part. */
export function diaryDifferences(
  start: SeenFiles,
  diary: readonly DiaryLine[],
  seen: SeenFiles,
  delayed: boolean,
): string[] {
  const model = CrashModel.of(start, delayed)
  let open: { readonly n: number; readonly step: CrashStep } | undefined
  for (const line of diary) {
    if ('step' in line) open = line
    else {
      if (line.ok && open !== undefined) model.apply(open.n, open.step, true)
      open = undefined
    }
  }
  if (open === undefined) return model.differences(seen)
  const after = model.copy()
  after.apply(open.n, open.step, false)
  const lines = after.differences(seen)
  if (lines.length === 0 || model.differences(seen).length === 0) return []
  return [`while ${JSON.stringify(open)}:`, ...lines]
}
