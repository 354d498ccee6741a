import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CommandKeys } from '../../../src/cli/keys/command-keys.ts'
import { kdfLimits } from '../../../src/cli/words/key-flags.ts'
import { withMountWords } from '../../../src/cli/words/mount-words.ts'
import { makeTempDir, removeTempDir } from '../../library/index.ts'

const VARIABLES = ['PASSPHRASE', 'PEM_PATH', 'PEM_DATA'].map((name) => `APPTAINER_ENCRYPTION_${name}`)
const [PASSPHRASE, PEM_PATH, PEM_DATA] = VARIABLES as [string, string, string]
const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
  ...{ type: 'pkcs1', format: 'pem' },
})

let temp = ''
beforeEach(() => {
  temp = makeTempDir()
})
afterEach(() => {
  removeTempDir(temp)
  for (const name of VARIABLES) delete process.env[name]
})

const file = (content: string | Buffer): string => {
  const path = join(temp, 'file')
  writeFileSync(path, content)
  return path
}
const fromFile = async (content: string | Buffer): Promise<string> =>
  Buffer.from((await new CommandKeys({ file: file(content), asks: false }).passphrase('x'))!).toString(
    'latin1',
  )

describe('the keys of a command', () => {
  test.each([
    ['secret', 'secret'],
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    ['secret\n\n', 'secret\n'],
    [' se cret ', ' se cret '],
    ['\n\r\n', '\n'],
  ])('of a passphrase file with %j one newline at the end does not count', async (content, passphrase) => {
    expect(await fromFile(content)).toBe(passphrase)
  })

  test('bytes that are no text stay as they are', async () => {
    expect(await fromFile(Buffer.from('ff00fe0a', 'hex'))).toBe('\xff\0\xfe')
  })

  test('a file that is empty, missing or too large is one line', async () => {
    await expect(fromFile('\n')).rejects.toThrow(/^--passphrase-file .*file: is empty$/)
    await expect(fromFile(Buffer.alloc(65_537, 1))).rejects.toThrow(/: has more than 65536 bytes$/)
    await expect(new CommandKeys({ file: join(temp, 'none') }).passphrase('x')).rejects.toThrow(
      /none: ENOENT/,
    )
  })

  test('a passphrase file counts before all variables', async () => {
    process.env[PASSPHRASE] = 'variable'
    process.env[PEM_DATA] = String(pem)
    const keys = new CommandKeys({ file: file('of the file'), asks: false })
    expect(keys.privateKey()).toBeUndefined()
    expect(Buffer.from((await keys.passphrase('x'))!).toString()).toBe('of the file')
  })

  test('a key in PEM comes from a file, or from a variable; without either there is none', () => {
    const keys = () => new CommandKeys({ asks: false }).privateKey()
    expect(keys()).toBeUndefined()
    process.env[PEM_PATH] = file(String(pem))
    expect(keys()?.asymmetricKeyType).toBe('rsa')
    process.env[PEM_PATH] = file('no key')
    expect(keys).toThrow(/file: is no private key in PEM/)
    process.env[PEM_PATH] = ''
    process.env[PEM_DATA] = 'x'
    expect(keys).toThrow(/^APPTAINER_ENCRYPTION_PEM_DATA: is no private key in PEM/)
  })

  test('nothing is asked where nothing may be asked', async () => {
    expect(await new CommandKeys({ asks: false }).passphrase('x')).toBeUndefined()
  })
})

describe('what deriving a key may take', () => {
  test('is 2 GiB and 60 seconds, or what is said', () => {
    expect(kdfLimits({})).toEqual({ memory: 2 ** 31, seconds: 60 })
    expect(kdfLimits({ kdfMemory: '64M', kdfTime: '5' })).toEqual({ memory: 2 ** 26, seconds: 5 })
    expect(() => kdfLimits({ kdfMemory: '1K' })).toThrow(/--kdf-memory=1K/)
    expect(() => kdfLimits({ kdfTime: '0' })).toThrow(/--kdf-time=0/)
  })

  test('may stand after -o, where a path may have commas', () => {
    const o = ['ro,passphrase_file=/a\\,b,kdf_time=5', 'kdf_memory=1G']
    expect(withMountWords({ o })).toMatchObject({
      passphraseFile: '/a,b',
      kdfTime: '5',
      kdfMemory: '1G',
      o: ['ro'],
    })
  })
})
