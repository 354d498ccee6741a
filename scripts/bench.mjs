// Bundles bench/main.ts and runs it with the same arguments: see bench/README.md.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
// Below node_modules, so that the packages that stay outside are found. Each run has its own, so that two do not meet.
const outdir = join(root, 'node_modules', '.cache', `bench-${process.pid}`)

let status = 1
try {
  await build({
    absWorkingDir: root,
    entryPoints: ['bench/main.ts'],
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'warning',
  })
  const args = ['--enable-source-maps', join(outdir, 'main.mjs'), ...process.argv.slice(2)]
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
  // The child unmounts and reports before it ends, so this process waits for it. The terminal's signal it gets itself.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  const [code] = await once(child, 'close')
  status = code ?? 1
} finally {
  rmSync(outdir, { recursive: true, force: true })
}
process.exitCode = status
