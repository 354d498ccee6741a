import { spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encryptByGocryptfs } from '../library/images/gocryptfs.ts'
import { encryptByCryptsetup, makeLuks, pemMessage } from '../library/images/luks.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import { envelope, metadataOf, signaturePart } from '../library/images/sif-signatures.ts'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  compareTrees,
  daemonPid,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  walkInChild,
  withAtomfs,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, readLog, SILENT } from '../library/scenes/life.ts'

/** Images that cryptsetup encrypted, against the same images before that; and where their keys are not. */

const need = needs('root', 'fuse', 'mksquashfs', 'cryptsetup')
const needUser = needs('root', 'fuse', 'mksquashfs', 'cryptsetup', 'fusermount3', 'setpriv', 'unshare')
const needGocryptfs = needs('root', 'fuse', 'mksquashfs', 'gocryptfs')
const needScript = needs('root', 'fuse', 'mksquashfs', 'script')
const LIBRARY = resolve(import.meta.dirname, '../../dist/index.js')
const PASSPHRASE = 'correct horse battery staple'
const nobody = 65_534

/** How cryptsetup may encrypt. Parameters of derivations are small: what they cost is not what is tested. */
const FORMS = {
  'argon2id, sectors of 512 bytes':
    '--pbkdf argon2id --pbkdf-memory 1024 --pbkdf-force-iterations 4 --sector-size 512',
  'argon2i, sectors of 4096 bytes':
    '--pbkdf argon2i --pbkdf-memory 1024 --pbkdf-force-iterations 4 --sector-size 4096',
  'pbkdf2, a key of 256 bits':
    '--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 512 --key-size 256',
} as const

let temp = ''
let plain = ''
let keyFile = ''
const images: Record<string, string> = {}
/** What the plain image shows. */
let expected: Awaited<ReturnType<typeof walkInChild>> = []

beforeAll(async () => {
  temp = makeTempDir()
  chmodSync(temp, 0o755)
  if (!need.ok) return
  const tree = join(temp, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  writeFileSync(join(tree, 'empty'), '')
  const noise = Buffer.alloc(1_500_000)
  for (let at = 0, state = 1; at < noise.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    noise[at] = state >>> 16
  }
  writeFileSync(join(tree, 'noise'), noise)
  writeFileSync(join(tree, 'text'), 'line\n'.repeat(100_000))
  plain = await mksquashfs(tree, join(temp, 'plain.sqfs'))
  expected = await withAtomfs(temp, plain, ({ target }) => walkInChild(target))
  keyFile = join(temp, 'key')
  writeFileSync(keyFile, `${PASSPHRASE}\n`)
  for (const [i, [title, options]] of Object.entries(FORMS).entries()) {
    const image = join(temp, `image-${i}.luks`)
    images[title] = await encryptByCryptsetup(plain, image, PASSPHRASE, options.split(' '))
  }
})
afterAll(() => removeTempDir(temp))

const given = ['--passphrase-file']
const first = (): string => Object.values(images)[0]!

/** An encrypted partition in a SIF file. @returns its path */
function sif(name: string, image: string, others: Parameters<typeof makeSif>[0]['parts'] = []): string {
  const file = join(temp, name)
  const partition = { type: SIF_TYPE.partition, data: readFileSync(image), partition: [5, 2, '02'] } as const
  writeFileSync(file, makeSif({ parts: [partition, ...others], architecture: '02' }))
  return file
}

describe.skipIf(!need.ok)(titled('an image that cryptsetup encrypted', need), () => {
  test.each(Object.keys(FORMS))('%s: a mount shows what the plain image shows', async (form) => {
    const found = await withAtomfs(temp, images[form]!, ({ target }) => walkInChild(target), [
      ...given,
      keyFile,
    ])
    expect(compareTrees(found, expected)).toEqual([])
    expect(found.length).toBeGreaterThan(4)
  })

  test('every way to serve it gives the same bytes', async () => {
    // Options for the key may stand after -o, for fstab.
    const word = `passphrase_file=${keyFile},kdf_memory=64M,kdf_time=30`
    for (const options of [
      ['-o', 'threads=0', ...given, keyFile],
      ['-o', `threads=2,cache_size=1M,${word}`],
      ['--writeable', ...given, keyFile],
    ]) {
      await withAtomfs(
        temp,
        first(),
        ({ target }) => {
          for (const name of ['noise', 'text', 'etc/motd']) {
            expect(readFileSync(join(target, name)).equals(readFileSync(join(temp, 'tree', name)))).toBe(true)
          }
        },
        options,
      )
    }
  })

  test('it is listed, printed, extracted, compared, converted and packed without a mount', async () => {
    await inScene(async ({ folder, atomfs }) => {
      const image = first()
      const key = [...given, keyFile]
      expect(await atomfs('ls', ...key, image)).toMatchObject({
        status: 0,
        stdout: 'empty\netc\nnoise\ntext\n',
      })
      expect(await atomfs('cat', ...key, image, 'etc/motd')).toMatchObject({ stdout: 'hello\n', stderr: '' })
      expect(await atomfs('diff', ...key, image, plain)).toMatchObject(SILENT)
      expect(await atomfs('diff', plain, image, '--other-passphrase-file', keyFile)).toMatchObject(SILENT)
      expect(await atomfs('extract', '-q', ...key, image, join(folder, 'out'))).toMatchObject(SILENT)
      expect(readFileSync(join(folder, 'out/noise')).equals(readFileSync(join(temp, 'tree/noise')))).toBe(
        true,
      )
      expect((await atomfs('verify', ...key, image)).stdout).toContain('not verified (no root hash)')
      const file = sif('convert.sif', image)
      for (const [i, source] of [image, file].entries()) {
        const made = `${join(folder, `oci-${i}`)}:x`
        expect(await atomfs('convert', '-q', ...key, source, made)).toMatchObject(SILENT)
        expect(await atomfs('diff', '--allow-missing-verity', made, plain)).toMatchObject(SILENT)
      }
      const packed = join(folder, 'packed.sqfs')
      expect(await atomfs('pack', '-q', ...key, image, packed)).toMatchObject(SILENT)
      expect(await atomfs('diff', packed, plain)).toMatchObject(SILENT)
    })
  })

  test('a SIF file with it is mounted as the plain image is, and inspect tells of it without a key', async () => {
    const file = sif('encrypted.sif', first())
    const env = { APPTAINER_ENCRYPTION_PASSPHRASE: PASSPHRASE }
    const found = await withAtomfs(temp, file, ({ target }) => walkInChild(target), [], { env })
    expect(compareTrees(found, expected)).toEqual([])
    const { status, stdout } = await atomfsFuse(['inspect', file])
    expect(status).toBe(0)
    expect(stdout).toContain('cannot be mounted: ')
    expect(stdout).toContain(
      `encrypted: ${file}:1: LUKS2, aes-xts-plain64 with a key of 512 bits, sectors of 512 bytes\n` +
        '  keyslot 0: argon2id (1 MiB of memory, time 4, ',
    )
    const json = await atomfsFuse([
      'inspect',
      '--json',
      ...given,
      keyFile,
      images['pbkdf2, a key of 256 bits']!,
    ])
    expect(JSON.parse(json.stdout)).toMatchObject({
      encryption: [
        {
          form: 'luks2',
          keyBits: 256,
          hasMessage: false,
          keyslots: [{ id: 0, kdf: 'pbkdf2', iterations: 1000 }],
        },
      ],
      layers: [{ kind: 'squashfs' }],
    })
  })

  test('wrong keys, missing keys and damaged headers are one line, and nothing is left', async () => {
    const wrong = join(temp, 'wrong')
    writeFileSync(wrong, 'wrong')
    const empty = join(temp, 'none')
    writeFileSync(empty, '\n')
    const damaged = join(temp, 'damaged.luks')
    const bytes = readFileSync(first())
    bytes[5000]! ^= 1
    bytes[16_384 + 5000]! ^= 1
    writeFileSync(damaged, bytes)
    await inScene(async ({ target, runDir, atomfs }) => {
      for (const [words, message] of [
        [
          [first()],
          /is encrypted \(LUKS2\), and its key is needed: give --passphrase-file, or set APPTAINER_/,
        ],
        [[...given, wrong, first()], /the passphrase or key is wrong: it does not open the image/],
        [[...given, empty, first()], /--passphrase-file .*none: is empty/],
        [[...given, join(temp, 'absent'), first()], /--passphrase-file .*absent: ENOENT/],
        [[...given, keyFile, damaged], /both copies of its LUKS2 header are damaged: /],
        [
          [...given, keyFile, '--kdf-memory', '1M', '--kdf-time', '0', first()],
          /--kdf-time=0: expected a whole/,
        ],
      ] as const) {
        const { status, stdout, stderr } = await atomfs('mount', ...words, target)
        expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
        expect(stderr).toMatch(message)
        expect(stderr).toMatch(/^Error: [^\n]+\n$/)
        expect(readdirSync(target)).toEqual([])
      }
      expect(entries(runDir)).toEqual([])
    })
  })

  test('one damaged copy of its header is a warning', async () => {
    const damaged = join(temp, 'one-copy.luks')
    const bytes = readFileSync(first())
    bytes.fill(0, 0, 4096)
    writeFileSync(damaged, bytes)
    const { status, stdout, stderr } = await atomfsFuse(['ls', ...given, keyFile, damaged])
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'empty\netc\nnoise\ntext\n' })
    expect(stderr).toMatch(
      /^Warning: .*: one copy of its LUKS2 header is damaged: the primary copy at byte 0 /,
    )
    await withAtomfs(temp, damaged, ({ target }) => expect(readdirSync(target)).toHaveLength(4), [
      ...given,
      keyFile,
    ])
  })

  test('a fifo of notify_pipe learns that a mount failed for want of a key', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const fifo = join(folder, 'fifo')
      await run('mkfifo', [fifo])
      const reader = run('cat', [fifo])
      expect(await atomfs('mount', '-o', `notify_pipe=${fifo}`, first(), target)).toMatchObject({ status: 1 })
      expect((await reader).stdout).toBe('f')
    })
  })

  test('a sector that was changed is other bytes, which signatures and --verify=eager find', async () => {
    const key = [...given, keyFile]
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const pem = join(temp, 'signer.pem')
    writeFileSync(pem, publicKey.export({ type: 'spki', format: 'pem' }))
    const partition = {
      type: SIF_TYPE.partition,
      data: readFileSync(first()),
      partition: [5, 2, '02'],
    } as const
    const shape = { parts: [partition], architecture: '02' }
    const signed = makeSif({
      ...shape,
      parts: [partition, signaturePart(envelope(metadataOf(shape), privateKey))],
    })
    const file = join(temp, 'signed.sif')
    writeFileSync(file, signed)
    expect(await atomfsFuse(['verify', '--key', pem, file])).toMatchObject({ status: 0 })
    await withAtomfs(temp, file, () => undefined, [...key, '--verify=eager'])
    // Data of the file `noise`, which does not compress.
    signed[signed.indexOf(partition.data) + partition.data.length - 600_000]! ^= 1
    writeFileSync(file, signed)
    await withAtomfs(
      temp,
      file,
      ({ target }) => {
        const bytes = readFileSync(join(target, 'noise'))
        const expected = readFileSync(join(temp, 'tree/noise'))
        expect(bytes.length).toBe(expected.length)
        expect(bytes.filter((byte, i) => byte !== expected[i]).length).toBeGreaterThan(8)
      },
      key,
    )
    const { stderr } = await atomfsFuse(['mount', ...key, '--verify=eager', file, temp], {
      allowFailure: true,
    })
    expect(stderr).toMatch(/its bytes have digest .*, expected sha256:.*: it is damaged/)
    expect(await atomfsFuse(['verify', '--key', pem, file], { allowFailure: true })).toMatchObject({
      status: 1,
    })
  })
})

describe.skipIf(!need.ok)(titled('an image that was encrypted for an RSA key', need), () => {
  test('is opened by the private key, in a file or in a variable, and by no other one', async () => {
    const secret = randomBytes(64)
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const pem = pair.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
    const image = join(temp, 'for-pem.luks')
    writeFileSync(image, makeLuks({ plain: readFileSync(plain), passphrase: secret }))
    const message = {
      type: SIF_TYPE.crypto,
      data: pemMessage(secret, pair.publicKey),
      link: 1,
      extra: Buffer.from('0200000000020000', 'hex'),
    }
    const file = sif('for-pem.sif', image, [message])
    const [own, other] = [join(temp, 'own.pem'), join(temp, 'other.pem')]
    writeFileSync(own, pem)
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    writeFileSync(other, stranger.export({ type: 'pkcs1', format: 'pem' }))
    await withAtomfs(temp, file, ({ target }) => expect(readdirSync(target)).toHaveLength(4), [], {
      env: { APPTAINER_ENCRYPTION_PEM_PATH: own },
    })
    // As in Apptainer the PEM key counts before the passphrase.
    const both = { APPTAINER_ENCRYPTION_PEM_DATA: pem, APPTAINER_ENCRYPTION_PASSPHRASE: 'wrong' }
    expect(await atomfsFuse(['ls', file], { env: both })).toMatchObject({
      stdout: 'empty\netc\nnoise\ntext\n',
    })
    const refused = async (env: Record<string, string>) =>
      (await atomfsFuse(['ls', file], { env, allowFailure: true })).stderr
    expect(await refused({ APPTAINER_ENCRYPTION_PEM_PATH: other })).toMatch(
      /^Error: .*: was encrypted for another PEM key\n$/,
    )
    expect(await refused({ APPTAINER_ENCRYPTION_PEM_PATH: keyFile })).toMatch(/is no private key in PEM/)
    expect(await refused({})).toMatch(/set APPTAINER_ENCRYPTION_PEM_PATH to its private key\n$/)
    expect((await atomfsFuse(['inspect', file])).stdout).toContain(
      'its key is in a message for an RSA key (PEM)',
    )
  })
})

describe.skipIf(!need.ok)(titled('a program with the library', need), () => {
  test('finds the key, reads the image, has it mounted, and forgets the key', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const script = `
        import { extractSource, getDriver, unlockSource, wipeKeys } from ${JSON.stringify(LIBRARY)}
        const [source, passphrase, directory, target] = process.argv.slice(2)
        const attempt = (work) => work().then(() => 'done', ({ code, message }) => code ?? message)
        const extract = (to) => attempt(() => extractSource({ source, directory: to }))
        console.log(await extract(directory + '/0'), await attempt(() => unlockSource({ source, passphrase: 'x' })))
        console.log(await attempt(() => unlockSource({ source, passphrase, kdfMemory: 1000 })))
        console.log(await attempt(() => unlockSource({ source, passphrase })), await extract(directory + '/1'))
        wipeKeys()
        console.log(await extract(directory + '/2'))
        const key = Buffer.from(passphrase)
        const driver = getDriver('atomfs-fuse')
        await driver.mount({ source, target, filesystem: 'encryptfs', flags: 1, key })`
      const file = join(folder, 'program.mjs')
      writeFileSync(file, script)
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      const { stdout } = await run(process.execPath, [file, first(), PASSPHRASE, folder, target], { env })
      expect(stdout).toBe('ENOKEY EKEYREJECTED\nENOMEM\ndone done\nENOKEY\n')
      expect(readFileSync(join(folder, '1/etc/motd'), 'utf8')).toBe('hello\n')
      expect(readFileSync(join(target, 'noise')).equals(readFileSync(join(temp, 'tree/noise')))).toBe(true)
    })
  })
})

describe.skipIf(!needGocryptfs.ok)(titled('a partition of gocryptfs', needGocryptfs), () => {
  let file = ''
  let outer = ''
  beforeAll(async () => {
    if (!needGocryptfs.ok) return
    outer = await encryptByGocryptfs(plain, join(temp, 'gocryptfs'), PASSPHRASE)
    file = join(temp, 'gocryptfs.sif')
    const partition = {
      type: SIF_TYPE.partition,
      data: readFileSync(outer),
      partition: [6, 2, '02'],
    } as const
    writeFileSync(file, makeSif({ parts: [partition], architecture: '02' }))
  })

  test('is mounted and read as the plain image is', async () => {
    const key = [...given, keyFile]
    const found = await withAtomfs(temp, file, ({ target }) => walkInChild(target), key)
    expect(compareTrees(found, expected)).toEqual([])
    await inScene(async ({ folder, atomfs }) => {
      expect(await atomfs('diff', ...key, file, plain)).toMatchObject(SILENT)
      const made = `${join(folder, 'oci')}:x`
      expect(await atomfs('convert', '-q', ...key, file, made)).toMatchObject(SILENT)
      expect(await atomfs('diff', '--allow-missing-verity', made, plain)).toMatchObject(SILENT)
      expect((await atomfs('inspect', file)).stdout).toContain(
        `encrypted: ${file}:1: gocryptfs, aes-gcm with a key of 256 bits, sectors of 4096 bytes\n` +
          '  keyslot 0: scrypt (1 MiB of memory)\n',
      )
      const wrong = join(folder, 'wrong')
      writeFileSync(wrong, 'wrong')
      const { stderr } = await atomfs('ls', ...given, wrong, file)
      expect(stderr).toMatch(/^Error: [^\n]*: the passphrase or key is wrong: it does not open the image\n$/)
      // The outer image by itself is an image as others.
      expect((await atomfs('ls', outer)).stdout).toBe('gocryptfs.conf\nsquashfs-123\n')
    })
  })

  test('that was encrypted for an RSA key is opened by it: the password is in the message', async () => {
    // As Apptainer makes it: 32 hex digits.
    const password = randomBytes(16).toString('hex')
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const pem = pair.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
    const data = readFileSync(await encryptByGocryptfs(plain, join(temp, 'gocryptfs-pem'), password))
    const partition = { type: SIF_TYPE.partition, data, partition: [6, 2, '02'] } as const
    const message = {
      type: SIF_TYPE.crypto,
      data: pemMessage(Buffer.from(password), pair.publicKey),
      link: 1,
      extra: Buffer.from('0200000000020000', 'hex'),
    }
    const forPem = join(temp, 'gocryptfs-pem.sif')
    writeFileSync(forPem, makeSif({ parts: [partition, message], architecture: '02' }))
    const env = { APPTAINER_ENCRYPTION_PEM_DATA: pem }
    expect(await atomfsFuse(['cat', forPem, 'etc/motd'], { env })).toMatchObject({
      stdout: 'hello\n',
      stderr: '',
    })
  })

  test('a block that was changed is an input/output error, and the rest is read', async () => {
    const damaged = join(temp, 'changed-gocryptfs.sif')
    const bytes = readFileSync(file)
    // The noise is the largest file, and in the middle of the image.
    bytes[Math.floor(bytes.length / 2)]! ^= 1
    writeFileSync(damaged, bytes)
    await withAtomfs(
      temp,
      damaged,
      ({ target }) => {
        expect(() => readFileSync(join(target, 'noise'))).toThrow(/EIO/)
        expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      },
      [...given, keyFile],
    )
  })
})

describe.skipIf(!need.ok)(titled('the key of a mount', need), () => {
  const secrets = [PASSPHRASE, 'battery']

  async function expectNoSecrets(pid: number, runDir: string, target: string): Promise<void> {
    for (const name of ['cmdline', 'environ']) {
      const text = readFileSync(`/proc/${pid}/${name}`, 'latin1')
      for (const secret of secrets) expect(text, name).not.toContain(secret)
    }
    expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +1 /m)
    const { stdout } = await atomfsFuse(['status', '--json', target], { runDir })
    const shown = [stdout, readLog(runDir)]
    for (const text of shown) {
      for (const secret of [...secrets, 'memory"']) expect(text).not.toContain(secret)
    }
    // The page with the keys is in no core dump, and locked.
    const smaps = readFileSync(`/proc/${pid}/smaps`, 'latin1')
    expect(smaps).toMatch(/^Locked: +4 kB$[^-]*^VmFlags: rd wr .* dd/m)
  }

  test('is not in arguments, environment, log, status or core dumps of a mount in the background', async () => {
    await inScene(async ({ target, runDir }) => {
      const env = { ATOMFS_TEST_RUN_DIR: runDir, APPTAINER_ENCRYPTION_PASSPHRASE: PASSPHRASE }
      expect(
        await run(ATOMFS_FUSE, ['mount', '--log-level', 'debug', first(), target], { env }),
      ).toMatchObject(SILENT)
      expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      const pid = daemonPid(runDir)
      await expectNoSecrets(pid, runDir, target)
      await atomfsFuse(['umount', target], { runDir })
      await until(() => isGone(pid), 'the end of the daemon')
    })
  })

  test('is wiped out of the environment of a mount in the foreground', async () => {
    await inScene(async ({ target, runDir }) => {
      const child = spawn(ATOMFS_FUSE, ['mount', '-f', first(), target], {
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir, APPTAINER_ENCRYPTION_PASSPHRASE: PASSPHRASE },
        stdio: 'ignore',
      })
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
      await until(() => readdirSync(target).length > 0, 'the mount')
      const text = readFileSync(`/proc/${child.pid}/environ`, 'latin1')
      expect(text).toMatch(/(^|\0)APPTAINER_ENCRYPTION_PASSPHRASE=\0+/)
      expect(text).not.toContain('battery')
      expect(readFileSync(`/proc/${child.pid}/limits`, 'utf8')).toMatch(/^Max core file size +1 /m)
      await atomfsFuse(['umount', target], { runDir })
      expect(await ended).toBe(0)
    })
  })

  test.skipIf(!needUser.ok)(titled('a plain user mounts an encrypted SIF file', needUser), async () => {
    const file = sif('user.sif', first())
    await inScene(async ({ folder, target, runDir }) => {
      for (const path of [folder, target]) chownSync(path, nobody, nobody)
      const script = `
        [ -e "$0/fuse" ] || mknod -m 0666 "$0/fuse" c 10 229; mount --bind "$0/fuse" /dev/fuse
        exec setpriv --reuid=${nobody} --regid=${nobody} --clear-groups sh -ec '
          "$0" mount --passphrase-file "$1" "$2" "$3"; cat "$3/etc/motd"; cksum <"$3/noise"; "$0" umount "$3"' "$@"`
      const { stdout, stderr } = await run(
        'unshare',
        ['-m', 'sh', '-ec', script, folder, ATOMFS_FUSE, keyFile, file, target],
        { env: { ATOMFS_TEST_RUN_DIR: runDir } },
      )
      const sum = (await run('cksum', [], { input: readFileSync(join(temp, 'tree/noise')) })).stdout
      expect({ stdout, stderr }).toEqual({ stdout: `hello\n${sum}`, stderr: '' })
    })
  })
})

describe.skipIf(!needScript.ok)(titled('a passphrase that is typed', needScript), () => {
  /** Runs a command on a terminal of its own, and types when it has asked. */
  async function onTerminal(command: string, typed: string): Promise<{ code: number | null; shown: string }> {
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] })
    let shown = ''
    let isTyped = false
    child.stdout.on('data', (piece: Buffer) => {
      shown += piece.toString('latin1')
      if (isTyped || !shown.includes('Passphrase for ')) return
      isTyped = true
      child.stdin.write(typed)
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    clearTimeout(timer)
    return { code, shown }
  }

  test('is asked for on the terminal, is not shown, and can be corrected', async () => {
    const image = join(temp, 'typed.luks')
    writeFileSync(image, makeLuks({ plain: readFileSync(plain), passphrase: 'grün und blau' }))
    const command = `${ATOMFS_FUSE} ls ${image}`
    const { code, shown } = await onTerminal(command, 'wrong\x15grün und rö\x7f\x7fblau\r')
    expect(code).toBe(0)
    expect(shown).toContain(`Passphrase for ${image}: \r\n`)
    expect(shown).toContain('etc\r\nnoise\r\n')
    expect(shown).not.toContain('blau')
    expect((await onTerminal(command, 'x\r')).shown).toContain('the passphrase or key is wrong')
    // Ctrl-C.
    expect((await onTerminal(command, 'gr\x03')).code).toBe(130)
  })
})
