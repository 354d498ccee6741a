/** What a command line of ours shows of the name that it was called by. */
export interface Called {
  readonly name: string
  /** What `--version` prints, where that is not the version alone. */
  readonly versionLine?: (ownVersion: string) => string
}
