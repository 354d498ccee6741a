import type { PathText } from '../../base/index.ts'
import type { Name } from '../commands/names.ts'

/** A name that the program goes by, and what its callers expect of that name. */
export interface Personality {
  /** Names of the file or link by which the program is called. */
  readonly names: readonly Name[]
  /**
   * Runs the command line of one of the names.
   * @param words those after the name
   * @param name which of the names
   * @returns the exit code; errors have been printed
   */
  readonly run: (words: readonly PathText[], name: string) => Promise<number>
}
