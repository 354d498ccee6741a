/** Apptainer and SingularityCE put it before a bare image, so that the file can be run. */
const LINE = /^#![^\n]* run-singularity\n/

/** A line is looked for in that many bytes only: as many as Apptainer looks at. */
const MOST_BYTES = 2048

/** Where the line ends that a file of Apptainer begins with; undefined where there is none. @param head the first bytes */
export function launchLineEnd(head: Uint8Array): number | undefined {
  const text = Buffer.from(head.subarray(0, MOST_BYTES)).toString('latin1')
  return LINE.exec(text)?.[0].length
}
