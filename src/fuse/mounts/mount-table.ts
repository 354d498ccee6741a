/** Jobs of READs under way, of all mounts. */
const ALL = 0
/** 1 while the dispatcher wants the bell when such a job ends. */
const WANTED = 1
const HEADER = 2

/** Of one mount. */
const UNDER_WAY = 0
const FAILED = 1
const COLUMNS = 2

/** Most mounts of one server. */
export const MAX_MOUNTS = 4096

/**
 * Counts of all mounts of a server, in memory that its threads share. A mount has its place in it from its start until no
 * job names it any more.
 */
export class MountTable {
  readonly memory: SharedArrayBuffer
  readonly #ints: Int32Array

  constructor(memory = new SharedArrayBuffer((HEADER + MAX_MOUNTS * COLUMNS) * 4)) {
    this.memory = memory
    this.#ints = new Int32Array(memory)
  }

  /** Jobs of READs that are queued or under way. */
  get allUnderWay(): number {
    return Atomics.load(this.#ints, ALL)
  }

  /** Those of one mount. */
  underWay(mount: number): number {
    return Atomics.load(this.#ints, at(mount, UNDER_WAY))
  }

  /** READs of a mount that workers answered with an error. */
  failed(mount: number): number {
    return Atomics.load(this.#ints, at(mount, FAILED))
  }

  /** Makes a place ready for another mount. */
  reset(mount: number): void {
    Atomics.store(this.#ints, at(mount, FAILED), 0)
  }

  /** For the dispatcher: a job begins. */
  begin(mount: number): void {
    Atomics.add(this.#ints, ALL, 1)
    Atomics.add(this.#ints, at(mount, UNDER_WAY), 1)
  }

  /** For whoever did the job. @returns true where the dispatcher wants the bell for it */
  end(mount: number, isGood: boolean): boolean {
    if (!isGood) Atomics.add(this.#ints, at(mount, FAILED), 1)
    Atomics.sub(this.#ints, at(mount, UNDER_WAY), 1)
    Atomics.sub(this.#ints, ALL, 1)
    return Atomics.load(this.#ints, WANTED) === 1
  }

  /** For the dispatcher, before it looks whether it has to wait. */
  wantBell(isWanted: boolean): void {
    Atomics.store(this.#ints, WANTED, isWanted ? 1 : 0)
  }
}

function at(mount: number, column: number): number {
  return HEADER + mount * COLUMNS + column
}
