import { expect, test } from 'vitest'
import { readGocryptfsWords } from '../../../src/cli/personalities/gocryptfs-words.ts'
import { parseGocryptfsOptions } from '../../../src/request/index.ts'

const CALL = {
  cipherDir: 'c',
  mountpoint: 'm',
  foreground: false,
  debug: false,
  options: [],
  passFiles: [],
  passProgram: [],
}

test.each([
  [['c', 'm'], CALL],
  [['-fg', 'c', 'm'], { ...CALL, foreground: true }],
  [['--fg', '-q', '-nosyslog', 'c', '-d', 'm'], { ...CALL, foreground: true, debug: true }],
  [['-fg=false', '-ro=true', 'c', 'm'], { ...CALL, options: ['ro'] }],
  [['-passfile', 'a', '--passfile=b', 'c', 'm'], { ...CALL, passFiles: ['a', 'b'] }],
  [['-extpass', 'cat x y', 'c', 'm'], { ...CALL, passProgram: ['cat', 'x', 'y'] }],
  [['-extpass=cat', '-extpass', 'x y', 'c', 'm'], { ...CALL, passProgram: ['cat', 'x y'] }],
  [
    ['c', 'm', '-o', 'ro,nofail,allow_other,passfile=p,ko=noexec'],
    { ...CALL, options: ['ro', 'allow_other', 'noexec'], passFiles: ['p'] },
  ],
  [
    ['-idle', '2h45m10s', '-force_owner', '5:6', 'c', 'm'],
    { ...CALL, options: ['timeout=9910', 'uid=5', 'gid=6'] },
  ],
  [
    ['-scryptn', '16', '-openssl', 'true', '-fsname=x', '--', '-c', 'm'],
    { ...CALL, cipherDir: '-c', options: ['fsname=x'] },
  ],
])('words of gocryptfs: %j', (words, call) => {
  expect(readGocryptfsWords(words)).toEqual(call)
})

test.each([
  [[], 'help'],
  [['-h'], 'help'],
  [['-version'], 'version'],
  // Apptainer, before it encrypts an image.
  [['-init', '-deterministic-names', '-plaintextnames', 'c'], 'init'],
  [['-passwd', 'c'], 'passwd'],
  [['-reverse', 'c', 'm'], 'reverse'],
])('words of gocryptfs that mount nothing: %j', (words, asks) => {
  expect(readGocryptfsWords(words)).toEqual({ asks })
})

test.each([
  [['c'], /expected CIPHERDIR and MOUNTPOINT, got 1 words/],
  [['c', 'm', 'x'], /got 3 words/],
  [['-passfile', 'a', '-extpass', 'b', 'c', 'm'], /-extpass and -passfile both say/],
  [['-masterkey', 'stdin', 'c', 'm'], /option -masterkey is not one of this gocryptfs, which only reads/],
  [['-config', 'x', 'c', 'm'], /option -config is not one/],
  [['c', 'm', '-passfile'], /option -passfile needs a value/],
  [['-ro=maybe', 'c', 'm'], /option -ro=maybe: expected true or false/],
  [['-idle', '5x', 'c', 'm'], /option -idle=5x: expected 500s/],
  [['-force_owner', 'me', 'c', 'm'], /option -force_owner=me: expected UID:GID/],
])('words of gocryptfs that make no sense: %j', (words, message) => {
  expect(() => readGocryptfsWords(words)).toThrow(message)
})

test('options of gocryptfs let others in only where it is said', () => {
  expect(parseGocryptfsOptions(['ro']).options).toMatchObject({ allowOther: false, showsOnly: true })
  expect(parseGocryptfsOptions(['allow_other', 'uid=7']).options).toMatchObject({ allowOther: true, uid: 7 })
})
