import type { PathText } from '../../base/index.ts'
import { openContents, readFile } from '../../contents/index.ts'
import { print } from '../print/output.ts'
import { contentsRequest, type SourceFlags } from './source-flags.ts'

/** Runs `cat`: prints files of SOURCE. No more of them is read than the reader has taken. */
export async function cat(source: string, paths: readonly PathText[], flags: SourceFlags): Promise<number> {
  const contents = openContents(contentsRequest(source, flags))
  try {
    for (const path of paths) {
      for (const piece of readFile(contents, path)) if (!(await print(piece))) return 0
    }
    return 0
  } finally {
    contents.close()
  }
}
