import type { Background, FsError, Postponed, Transfer } from '../../../../src/base/index.ts'
import { syncFd } from '../../../../src/sys/files/file-io.ts'

/** Syncs when it is told to, as another thread would some time later. Data it leaves to who asks. */
export class HeldBackground implements Background {
  /** What syncing fails with, where set. */
  failure: FsError | undefined
  readonly syncs: string[] = []
  /** Lengths of the pieces that it was asked to write. */
  readonly writes: number[] = []
  readonly #tasks: (() => void)[] = []

  transfer(fd: number): Transfer {
    let pending = 0
    let error: FsError | undefined
    return {
      get error() {
        return error
      },
      pending: () => pending,
      write: (_describe, _offset, length) => {
        this.writes.push(length)
        return 'unable'
      },
      sync: (kind) => {
        this.syncs.push(kind)
        pending += 1
        this.#tasks.push(() => {
          pending -= 1
          error = this.failure
          if (error === undefined) syncFd(fd, kind)
        })
        return 'taken'
      },
    }
  }

  /** Brings the work to its end. */
  workOff({ work }: Postponed): void {
    for (let i = 0; work.advance() !== 'done'; i++) {
      if (i > 1000) throw new Error('work without end')
      for (const task of this.#tasks.splice(0)) task()
    }
  }
}
