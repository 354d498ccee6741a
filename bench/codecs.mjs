// How fast is each decoder? The codec part of `npm run bench -- micro`, under a name of its own.
// Usage: node bench/codecs.mjs [block size in KiB, default 128]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const bench = fileURLToPath(new URL('../scripts/bench.mjs', import.meta.url))
const args = [bench, 'micro', 'codec', '--block-size', process.argv[2] ?? '128']
process.exitCode = spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1
