import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { needs, run, titled, withTempDir } from '../library/index.ts'

const need = needs('root', 'fuse')
const LIBRARY = resolve(import.meta.dirname, '../../dist/squashfs.js')
const MAIN = resolve(import.meta.dirname, '../../dist/index.js')

/** What a program prints that has the library as `lib`. Threads of it are started from the build. */
async function program(temp: string, code: string): Promise<unknown> {
  const text = `import * as lib from '${LIBRARY}'\nimport { umount } from '${MAIN}'\nimport fs from 'node:fs'\n${code}`
  const options = { cwd: temp, env: { ATOMFS_TEST_RUN_DIR: join(temp, 'run') } }
  const file = join(temp, 'program.mjs')
  writeFileSync(file, text)
  return JSON.parse((await run(process.execPath, [file], options)).stdout)
}

describe.skipIf(!need.ok)(titled('the library makes and extracts images', need), () => {
  test('makeSquashfs packs a directory, without what is left out, and extractSingleSquash brings it back', async () => {
    await withTempDir(async (temp) => {
      const tree = join(temp, 'tree')
      mkdirSync(join(tree, 'left'), { recursive: true })
      mkdirSync(join(temp, 'run'))
      mkdirSync(join(temp, 'empty'))
      writeFileSync(join(tree, 'file'), 'text')
      writeFileSync(join(tree, 'left', 'out'), 'text')
      symlinkSync('file', join(tree, 'link'))
      const made = await program(
        temp,
        `const exclude = new lib.ExcludePaths()
exclude.addExclude(fs.realpathSync('tree') + '/left')
const { blob, ...about } = await lib.makeSquashfs('tree', { exclude, compression: 'gzip:1', tempDir: 'empty' })
const file = fs.createWriteStream('image')
await new Promise((done, failed) => blob.pipe(file).on('finish', done).on('error', failed))
console.log(JSON.stringify({ ...about, left: fs.readdirSync('empty') }))`,
      )
      expect(made).toEqual({
        mediaType: 'application/vnd.stacker.image.layer.squashfs+gzip',
        size: readFileSync(join(temp, 'image')).length,
        rootHash: expect.stringMatching(/^[0-9a-f]{64}$/),
        left: [],
      })
      const { rootHash } = made as { readonly rootHash: string }
      const seen = await program(
        temp,
        `const options = { rootHash: '${rootHash}' }
const words = []
const policy = ['extract']
words.push(await lib.extractSingleSquash('image', 'a/b', { ...options, policy }), fs.readdirSync('a/b'))
fs.writeFileSync('a/b/file', 'mine')
words.push(await lib.extractSingleSquash('image', 'a/b', { ...options, policy }), fs.readFileSync('a/b/file', 'utf8'))
words.push(await lib.extractSingleSquash('image', 'm', options), fs.readdirSync('m'))
words.push(await lib.extractSingleSquash('image', 'm', options))
await umount('m')
await lib.extractSingleSquash('image', 'c', { policy, rootHash: '00'.repeat(32) }).catch((error) => words.push(error.code))
words.push(fs.existsSync('c'))
console.log(JSON.stringify(words))`,
      )
      const names = ['file', 'link']
      expect(seen).toEqual(['extract', names, 'extract', 'mine', 'mount', names, 'mount', 'EIO', false])
      expect(readdirSync(join(temp, 'm'))).toEqual([])
    })
  })
})
