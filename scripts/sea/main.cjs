// What runs in the single executable (scripts/sea.mjs). Threads and native code need files, so the files of the program
// are written down once, in a folder that only the user can write to, and run from there.
const fs = require('node:fs')
const { homedir } = require('node:os')
const { basename, dirname, join, resolve } = require('node:path')
const sea = require('node:sea')
const { pathToFileURL } = require('node:url')
const vm = require('node:vm')

// The launcher of the package does the same (bin/atomfs-fuse).
for (const name of ['NODE_OPTIONS', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS']) delete process.env[name]
// The loader for files is "experimental" in a single executable: no news for those who mount.
process.removeAllListeners('warning')

const folder = unpacked()
const daemon = join(folder, 'dist', 'daemon.js')
// The daemon is started as `node [options] dist/daemon.js`, with this very file for the node.
const words = process.argv.slice(2)
const isDaemon = words.pop() === daemon && words.every((word) => word.startsWith('--'))
if (isDaemon) process.argv.splice(1, process.argv.length, daemon)
else process.argv[1] = calledAs(process.argv0)

const load = new vm.Script('(url) => import(url)', {
  importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
}).runInThisContext()
load(pathToFileURL(isDaemon ? daemon : join(folder, 'dist', 'cli.js')).href).catch((error) => {
  console.error(`Error: cannot load the program: ${error.message}`)
  process.exit(1)
})

/** The path by which the program was called, as far as it is known: the name in it decides what it does. */
function calledAs(word) {
  return word.includes('/') ? resolve(word) : join(dirname(process.execPath), basename(word))
}

function unpacked() {
  const digest = sea.getAsset('digest', 'utf8')
  const caches = [
    process.env.XDG_CACHE_HOME,
    process.geteuid() === 0 ? '/var/cache' : undefined,
    join(homedir(), '.cache'),
  ]
  const places = caches.filter((cache) => cache?.startsWith('/')).map((cache) => join(cache, 'atomfs-fuse'))
  const reasons = []
  for (const place of places) {
    try {
      return unpackIn(place, digest)
    } catch (error) {
      reasons.push(error.message)
    }
  }
  console.error(`Error: no place for the files of the program: ${reasons.join('; ')}`)
  process.exit(1)
}

function unpackIn(place, digest) {
  fs.mkdirSync(place, { recursive: true, mode: 0o700 })
  assertOurs(place)
  const folder = join(place, digest)
  if (fs.existsSync(folder)) return folder
  const archive = Buffer.from(sea.getRawAsset('files'))
  const start = 4 + archive.readUInt32LE(0)
  const temporary = fs.mkdtempSync(`${folder}.`)
  let at = start
  for (const [name, length] of JSON.parse(archive.subarray(4, start).toString())) {
    fs.mkdirSync(dirname(join(temporary, name)), { recursive: true })
    fs.writeFileSync(join(temporary, name), archive.subarray(at, at + length))
    at += length
  }
  try {
    fs.renameSync(temporary, folder)
  } catch (error) {
    fs.rmSync(temporary, { recursive: true })
    // Another process was faster.
    if (!fs.existsSync(folder)) throw error
  }
  return folder
}

/** Nobody else may have put code into the folder, or another folder into its place. */
function assertOurs(place) {
  const own = process.geteuid()
  const { uid, mode } = fs.lstatSync(place)
  const above = fs.statSync(dirname(place))
  if (uid !== own || (mode & 0o022) !== 0) throw new Error(`${place} must belong to user ${own} alone`)
  if ((above.uid !== own && above.uid !== 0) || (above.mode & 0o022) !== 0) {
    throw new Error(`others can change ${dirname(place)}`)
  }
}
