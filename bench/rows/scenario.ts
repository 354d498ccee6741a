import type { Inputs, Subject } from '../inputs/index.ts'
import type { Session } from '../measure/index.ts'
import type { Reader } from '../readers/index.ts'

/** One image that is made, or extracted. */
export interface Making {
  readonly maker: Reader
  readonly subject: Subject
  /** Empty, on a disk; removed by the caller. */
  readonly directory: string
  readonly record: Session['record']
}

/** What is done with one fresh mount of one image, and the rows that come of it. */
export interface Scenario {
  readonly name: string
  /** Name of the image in tables. */
  readonly input: string
  readonly rows: readonly string[]
  /** Readers by name; those that are not there are left out. */
  readonly readers: readonly string[]
  /** Readers that are slow and only there for orientation run in so many rounds. */
  readonly fewerRounds?: Readonly<Record<string, number>>
  /** With an empty upper directory for the changes. */
  readonly writable?: boolean
  /** Part of `--quick`. */
  readonly main: boolean
  /** Only with `--million`. */
  readonly million?: boolean
  /** Only with `--busy`: other processes use all processors from before the mount to after the unmount. */
  readonly busy?: boolean
  /** Mounts in each round, 1 if absent. */
  readonly repeat?: number
  /** An image is made, extracted or read for the first time, and nothing is mounted by the plan: takes the place of `measure`. */
  readonly make?: (making: Making) => Promise<void>
  subject(inputs: Inputs): Promise<Subject>
  /** Done before each mount. */
  readonly prepare?: (subject: Subject) => void
  measure(session: Session): Promise<void>
}
