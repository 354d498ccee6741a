import { closeSync, fstatSync, openSync } from 'node:fs'
import { dataSegments } from '../programs/native.ts'
import { type ReadRange, readRange, sha256 } from './reads.ts'

/**
 * A file and a list of ranges as JSON in; out one hash for each range, and the data segments of the file as
 * SEEK_DATA and SEEK_HOLE report them.
 */
const [path, ranges] = process.argv.slice(2)
if (path === undefined) throw new Error('usage: reads-main FILE RANGES-AS-JSON')
const hashes = (JSON.parse(ranges ?? '[]') as ReadRange[]).map((range) => sha256(readRange(path, range)))
const fd = openSync(path, 'r')
const segments = [...dataSegments(fd, fstatSync(fd).size)]
closeSync(fd)
process.stdout.write(JSON.stringify({ hashes, segments }))
