import { describe, expect, test } from 'vitest'
import { type Caller, type CallerFacts, callerOf } from '../../../src/bundle/spec/caller.ts'
import { NO_CONFIG, type RunConfig, runConfigOf } from '../../../src/bundle/spec/image-config.ts'
import { runtimeSpec, type SpecOptions } from '../../../src/bundle/spec/runtime-spec.ts'

const FACTS: CallerFacts = {
  ...{ uid: 0, gid: 0, isSysAdmin: true, isInitialNamespace: true, mayAllowOther: false },
  ...{ uidMap: '0 1000 1', gidMap: '0 1000 1' },
}
const ROOT = callerOf(FACTS)
const ONE = callerOf({ ...FACTS, isInitialNamespace: false })
const USER = callerOf({ ...FACTS, uid: 1000, gid: 1000, isSysAdmin: false })
const MANY = callerOf({
  ...FACTS,
  ...{ uid: 1000, gid: 1000, isSysAdmin: false, mayAllowOther: true },
  subordinate: { uid: { first: 100_000, count: 65_536 }, gid: { first: 100_000, count: 65_536 } },
})

const CONFIG: RunConfig = runConfigOf(
  {
    os: 'linux',
    architecture: 'amd64',
    variant: '',
    'os.features': ['a', 'b'],
    author: 'somebody',
    config: {
      User: 'app',
      Env: ['PATH=/bin', 'A=1', 'A=2', '=x', 'BARE'],
      Entrypoint: ['/entry'],
      Cmd: ['one', 'two'],
      WorkingDir: 'srv/./app',
      Labels: { own: 'label', 'org.opencontainers.image.author': 'another' },
      ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
      Volumes: { '/data': {}, '../../var/lib/': {}, '/': {} },
      StopSignal: 'SIGQUIT',
      ArgsEscaped: true,
    },
  },
  'configuration',
)

function make(options: SpecOptions = {}, caller: Caller = ROOT, config = CONFIG) {
  const read = (path: string) =>
    path === '/etc/passwd' ? 'root:x:0:0::/root:\napp:x:1000:1000::/home/app:\n' : 'audio:x:29:app\n'
  return runtimeSpec({ label: 'image', config, read }, caller, options)
}

describe('config.json of an image', () => {
  test('has the program of the image, in its directory, with its environment, each name once', () => {
    const { process } = make()
    expect(process.args).toEqual(['/entry', 'one', 'two'])
    expect(process.cwd).toBe('/srv/app')
    expect(process.env).toEqual(['PATH=/bin', 'HOME=/home/app', 'A=2', 'BARE='])
    expect(process.user).toEqual({ uid: 1000, gid: 1000, additionalGids: [29] })
  })

  test('has annotations of what the image says of itself, and its labels count more', () => {
    expect(make().annotations).toEqual({
      'org.opencontainers.image.os': 'linux',
      'org.opencontainers.image.architecture': 'amd64',
      'org.opencontainers.image.os.features': 'a,b',
      'org.opencontainers.image.author': 'another',
      'org.opencontainers.image.stopSignal': 'SIGQUIT',
      'org.opencontainers.image.exposedPorts': '443/tcp,80/tcp',
      own: 'label',
    })
  })

  test('has a file system for each volume, which never is the root', () => {
    const volumes = make({ size: 1000 }).mounts.filter(({ options }) => options.includes('tmpcopyup'))
    expect(volumes.map(({ destination }) => destination)).toEqual(['/data', '/var/lib'])
    expect(volumes[0]?.options).toContain('size=1000')
  })

  test('a command takes the place of that of the image, an entry point that of both', () => {
    expect(make({ args: ['sh'] }).process.args).toEqual(['/entry', 'sh'])
    expect(make({ entrypoint: ['/bin/sh'] }).process.args).toEqual(['/bin/sh'])
    expect(make({ entrypoint: [], args: ['a', 'b'] }).process.args).toEqual(['a', 'b'])
  })

  test('an image without a command needs one', () => {
    expect(() => make({}, ROOT, NO_CONFIG)).toThrow(
      'image: the image does not say what to run: give a command behind --',
    )
    const { process, annotations } = make({ args: ['sh'] }, ROOT, NO_CONFIG)
    expect(process).toMatchObject({ args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 } })
    expect(process.env).toContain('HOME=/root')
    expect(process.env.some((text) => text.startsWith('PATH=/usr/local/sbin'))).toBe(true)
    expect(annotations).toBeUndefined()
  })

  test('only root has capabilities at once', () => {
    expect(make().process.capabilities).toMatchObject({
      effective: [],
      permitted: [],
      ambient: [],
      inheritable: [],
    })
    const { effective, bounding } = make({ user: '0' }).process.capabilities
    expect(effective).toEqual(bounding)
    expect(bounding).not.toContain('CAP_SYS_ADMIN')
  })

  test('root of the machine has limits; nobody else can have any', () => {
    const { resources } = make({ memory: 64 << 20, cpus: '1500m' }).linux
    expect(resources).toMatchObject({
      memory: { limit: 64 << 20 },
      cpu: { shares: 1536, quota: 150_000, period: 100_000 },
      devices: [{ allow: false, access: 'rwm' }],
    })
    for (const caller of [ONE, USER, MANY]) {
      expect(() => make({ user: '0', memory: 64 << 20 }, caller)).toThrow(
        /^--memory: limits are kept by cgroups/,
      )
      expect(() => make({ user: '0', cpus: '1' }, caller)).toThrow(/^--cpus: limits are kept by cgroups/)
      expect(make({ user: '0' }, caller).linux.resources).toBeUndefined()
    }
  })

  test.each(['0', '-1', '1e3', '64 M', '', 'x', '1Ei', '99999999999999999'])('%j is no quantity', (cpus) => {
    expect(() => make({ cpus })).toThrow(/^--cpus .*a quantity is needed/)
  })

  test('plain users get a user namespace with mappings that are written out', () => {
    const spec = make({ user: 'root' }, USER)
    expect(spec.linux.namespaces).toContainEqual({ type: 'user' })
    expect(spec.linux.uidMappings).toEqual([{ containerID: 0, hostID: 1000, size: 1 }])
    expect(make().linux.uidMappings).toBeUndefined()
    expect(make({ user: '0' }, ONE).linux.namespaces).not.toContainEqual({ type: 'user' })
  })

  test('a user that does not exist in the container is refused with what to do', () => {
    for (const caller of [ONE, USER])
      expect(() => make({}, caller)).toThrow(/user 1000:1000, and .* --user 0/)
    expect(make({}, MANY).process.user.uid).toBe(1000)
    expect(() => make({ user: '70000' }, MANY)).toThrow(/70000:0, who is not among your subordinate ids/)
  })

  test('further groups are left out where the runtime cannot give them, and the group of terminals without it', () => {
    const groups = (caller: Caller, furtherGroups: boolean) =>
      make({ furtherGroups }, caller).process.user.additionalGids
    expect([groups(MANY, true), groups(MANY, false), groups(ROOT, false)]).toEqual([[29], undefined, [29]])
    const terminals = (caller: Caller) =>
      make({ user: '0' }, caller)
        .mounts.find(({ type }) => type === 'devpts')
        ?.options.includes('gid=5')
    expect([ROOT, MANY, ONE, USER].map(terminals)).toEqual([true, true, false, false])
  })

  test('sysfs is mounted by root alone; others see that of the machine, read-only', () => {
    const sys = (caller: Caller) =>
      make({ user: '0' }, caller).mounts.find(({ destination }) => destination === '/sys')
    expect(sys(ROOT)?.type).toBe('sysfs')
    for (const caller of [ONE, USER, MANY])
      expect(sys(caller)).toMatchObject({ source: '/sys', type: 'none' })
    expect(sys(USER)?.options).toContain('ro')
  })

  test('a network is the own one unless that of the machine is asked for', () => {
    expect(make().linux.namespaces).toContainEqual({ type: 'network' })
    expect(make({ network: 'host' }).linux.namespaces).not.toContainEqual({ type: 'network' })
  })

  test('what a caller mounts takes the place of what stands there', () => {
    const mounts = make({ mounts: [{ type: 'tmpfs', target: '/data/', size: 4096, readOnly: true }] }).mounts
    const there = mounts.filter(({ destination }) => destination === '/data')
    expect(there).toEqual([
      {
        destination: '/data',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'nodev', 'ro', 'size=4096'],
      },
    ])
  })

  test.each(['relative', '/', '/x/..', '/a\0b'])('a mount on %j is refused', (target) => {
    expect(() => make({ mounts: [{ type: 'tmpfs', target }] })).toThrow(/an absolute path below the root/)
  })

  test('variables come from the caller by name, and a name is needed', () => {
    process.env['ATOMFS_TEST_VALUE'] = 'from here'
    try {
      const { env } = make({ env: ['ATOMFS_TEST_VALUE', 'A=3', 'ATOMFS_TEST_ABSENT', 'HOME=/x'] }).process
      expect(env).toEqual(['PATH=/bin', 'HOME=/x', 'A=3', 'BARE=', 'ATOMFS_TEST_VALUE=from here'])
    } finally {
      delete process.env['ATOMFS_TEST_VALUE']
    }
    expect(() => make({ env: ['=x'] })).toThrow(/NAME=VALUE/)
  })
})

describe('configuration of an image', () => {
  test('without what it runs says nothing', () => {
    expect(runConfigOf({}, 'configuration')).toEqual(NO_CONFIG)
    expect(runConfigOf({ config: null }, 'configuration')).toEqual(NO_CONFIG)
    expect(runConfigOf({ config: { Cmd: null, Volumes: null } }, 'configuration')).toEqual(NO_CONFIG)
  })

  test.each([{ config: { Cmd: 'sh' } }, { config: { Env: [1] } }, { config: { User: 0 } }])(
    'of other types is damage: %j',
    (config) => {
      expect(() => runConfigOf(config, 'configuration')).toThrow(expect.objectContaining({ code: 'EIO' }))
    },
  )

  test('no text in it has a NUL', () => {
    expect(() => runConfigOf({ config: { Cmd: ['a\0b'] } }, 'configuration')).toThrow(/contains a NUL/)
  })
})
