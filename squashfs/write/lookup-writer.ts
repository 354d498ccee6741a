import type { ImageOutput } from './block-queue.ts'
import { type Compress, MetadataWriter } from './metadata-writer.ts'
import { RecordBuffer } from './record.ts'

/**
 * Writes records into metadata blocks, and behind them the list of where the blocks are (squashfs: Lookup Tables).
 * @param header stands before the list
 * @returns position of header and list
 */
export function writeLookupTable(
  output: ImageOutput,
  records: Iterable<Uint8Array>,
  compress: Compress | undefined,
  header: Uint8Array = new Uint8Array(0),
): number {
  const table = new MetadataWriter(compress)
  for (const record of records) table.write(record)
  const start = output.position
  output.write(table.finish())
  const list = new RecordBuffer()
  for (const block of table.starts) list.u64(start + block)
  const position = output.position
  output.write(header)
  output.write(list.bytes)
  return position
}
