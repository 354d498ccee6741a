import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Raised whenever an input of the same name would be built differently. */
const VERSION = 2

/** Things that are built once and kept in a directory, each with what is known of it. */
export class InputCache {
  readonly directory: string
  readonly #log: (line: string) => void
  readonly #building = new Map<string, Promise<unknown>>()

  constructor(directory: string, log: (line: string) => void) {
    this.directory = join(directory, `inputs-${VERSION}`)
    this.#log = log
    mkdirSync(this.directory, { recursive: true })
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /**
   * The value that `build` gave for this name, in this run or an earlier one. A build that was interrupted counts as
   * none, because the value is written last.
   */
  async get<T>(name: string, build: () => Promise<T>): Promise<T> {
    const known = this.#building.get(name) ?? this.#load(name, build)
    this.#building.set(name, known)
    return (await known) as T
  }

  async #load<T>(name: string, build: () => Promise<T>): Promise<T> {
    const record = this.path(`${name}.json`)
    if (existsSync(record)) return JSON.parse(readFileSync(record, 'utf8')) as T
    const start = performance.now()
    this.#log(`building ${name} …`)
    const value = await build()
    mkdirSync(dirname(record), { recursive: true })
    writeFileSync(`${record}.new`, JSON.stringify(value))
    renameSync(`${record}.new`, record)
    this.#log(`building ${name}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
    return value
  }

  /** Removes something that was needed only while building. */
  discard(name: string): void {
    rmSync(this.path(name), { recursive: true, force: true })
  }
}
